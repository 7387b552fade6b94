"""Which table a calibration uses: one that exists, or one made from images now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fcn_edge.calibration.collect import table_from_images
from fcn_edge.calibration.images import CalibrationImages, ImagesLike, images_from_source, require_disjoint
from fcn_edge.calibration.methods import Method
from fcn_edge.calibration.table import CalibrationTable, require_same_images, table_from_file, with_method
from fcn_edge.data import Dataset
from fcn_edge.data.arrays import PairInMemory
from fcn_edge.data.base import sha256_of_pixels
from fcn_edge.errors import BadInput
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import table_file, table_names


def is_table_name(source: ImagesLike) -> bool:
    """Whether `source` names a calibration table rather than images."""
    return isinstance(source, (str, Path)) and (str(source) in table_names() or str(source).endswith(".json"))


@dataclass(frozen=True)
class TableRequest:
    """source: a table, or images. method: None for the table's own, or percentile. count: of images, see `calibrate`.

    held_out: a set that none of the images may be in. verify: images that a table must have been made of.
    """

    source: ImagesLike
    method: Method | None = None
    count: int | None = None
    held_out: Dataset | None = None
    verify: ImagesLike | None = None

    def table_for(self, model: OnnxModel, progress: Progress = SILENT) -> CalibrationTable:
        """The table that was asked for; images are run through `model`.

        Raises:
            BadInput: an image is in `held_out`, the table was not made of the images of `verify`, an argument that
                would be ignored, or as `table_from_images`.
        """
        if is_table_name(self.source):
            return self._stored_table(str(self.source), progress)
        if self.verify is not None:
            name = self.source if isinstance(self.source, (str, Path)) else "the images"
            raise BadInput(f"{name}: not a table, so `verify` has nothing to compare with its images; leave it out")
        images = images_from_source(self.source, self.count)
        if self.held_out is not None:
            require_disjoint(hashes_comparable_with(self.held_out, images), self.held_out)
        table = table_from_images(model, images, method=self.method or "percentile", progress=progress)
        for line in images.notes.lines:
            progress.note(f"calibration images: {line}")
        return table

    def _stored_table(self, name: str, progress: Progress) -> CalibrationTable:
        table = table_from_file(table_file(name) if name in table_names() else Path(name))
        if self.count is not None:
            raise BadInput(
                f"{name}: a table of {len(table.images)} images already, so {self.count} cannot be chosen; leave the"
                " number out"
            )
        if self.verify is not None:
            require_same_images(table, images_from_source(self.verify, len(table.images) + len(table.skipped)))
        if table.roundings:
            progress.note(
                f"warning: {name}: holds weight roundings of an earlier version, which are left out: all weights are"
                " rounded to the nearest step"
            )
        if self.held_out is not None:
            require_disjoint(table.hashes, self.held_out)
        return table if self.method is None else with_method(table, self.method)


def hashes_comparable_with(data: Dataset, images: CalibrationImages) -> dict[str, str]:
    """Name -> hash of each image: of its pixels where `data` is in memory and has no files."""
    in_memory = len(data.items) > 0 and isinstance(data.items[0], PairInMemory)
    hashes = {}
    for image in images.images:
        try:
            hashes[image.name] = sha256_of_pixels(image.read()) if in_memory else image.sha256()
        except BadInput:  # calibrating names it, and skips it
            continue
    return hashes
