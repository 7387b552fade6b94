"""Image files as a source: a folder, a glob, one picture."""

from __future__ import annotations

import glob
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fcn_edge.data.base import IMAGE_SUFFIXES, images_in, note_hidden
from fcn_edge.data.notes import Notes
from fcn_edge.data.pictures import picture_from_file
from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame
from fcn_edge.streaming.sources.base import Source, none_readable


class ImageFiles(Source):
    """Images in the order of `paths`; one that cannot be read is added to `skipped`, and its index is left out."""

    def __init__(self, paths: Sequence[Path], uri: str, passed_over: Notes | None = None) -> None:
        super().__init__(uri)
        self._passed_over = passed_over or Notes()
        self.files = tuple(paths)
        self.length = len(self.files)

    @property
    def notes(self) -> list[str]:
        return self._passed_over.lines + super().notes

    def frames(self) -> Iterator[Frame]:
        self._begin()
        for index, path in enumerate(self.files):
            try:
                image, what = picture_from_file(path)
            except BadInput as error:
                self._skip(str(error))
                continue
            if what:
                self._note(what, path.name)
            yield Frame(image, index, time.monotonic_ns(), str(path))
        if self.skipped_count == len(self.files):
            raise none_readable(self.uri, len(self.files), self.skipped[0])


def images_from_folder(folder: Path, uri: str) -> ImageFiles:
    """The images of a folder, sorted by name. Raises BadInput if there are none."""
    paths = images_in(folder)
    if paths:
        passed_over = Notes()
        note_hidden(folder, passed_over)
        return ImageFiles(paths, uri, passed_over)
    inside = folder / "images"
    hint = f"; did you mean {inside}?" if inside.is_dir() else f" ({' '.join(IMAGE_SUFFIXES)})"
    raise BadInput(f"{folder}: no images in this folder{hint}")


def images_from_glob(pattern: str) -> ImageFiles:
    """The images that match a pattern with * ? [ ] or **, sorted by name."""
    matches = (Path(name) for name in sorted(glob.glob(pattern, recursive=True)))
    paths = [path for path in matches if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise BadInput(f"{pattern}: no image matches this pattern ({' '.join(IMAGE_SUFFIXES)})")
    return ImageFiles(paths, pattern)
