"""Any data set written as `folder:`: images/, labels/ as palette PNGs, and classes.json."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np

from fcn_edge.atomic_io import read_json, require_file, whole_folder
from fcn_edge.data.base import Dataset, FilePair, Item
from fcn_edge.data.headers import header_from_bytes
from fcn_edge.data.labels import UNLABELLED
from fcn_edge.errors import BadInput
from fcn_edge.outputs import MARK, require_apart
from fcn_edge.progress import SILENT, Progress

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "tiff": ".tif", "webp": ".webp", "netpbm": ".ppm", "": ".bmp"}
ORIENTATION = 274  # tag of Exif


def convert_dataset(dataset: Dataset, out: Path, *, progress: Progress = SILENT) -> Path:
    """Write a data set as OUT/images, OUT/labels and OUT/classes.json; `folder:OUT` opens it.

    Image files are copied as they are. Labels lie on the upright image, and say so by a tag of their own. A name with
    folders becomes one with two underscores for each.

    Args:
        dataset: the set. An image that cannot be read ends the conversion, and nothing is written.
        out: a folder that is not there, is empty, or was written by this function.
        progress: receives how many images are written.

    Returns:
        `out`.

    Raises:
        BadInput: a pair that cannot be read, two items whose names would be the same, or `out` holds other files.
    """
    items = [dataset.items[number] for number in range(len(dataset.items))]
    folders = {
        path.parent for item in items if isinstance(item, FilePair) for path in (item.image_path, item.label_path)
    }
    require_apart([out], folders, whole=True)
    stems: dict[str, Item] = {}
    for item in items:
        other = stems.setdefault(_stem(item), item)
        if other is not item:
            raise BadInput(f"{dataset.name}: {other.name} and {item.name} would both be written as {_stem(item)}")
    with whole_folder(out, require_ours=_require_ours) as part:
        (part / "images").mkdir()
        (part / "labels").mkdir()
        for done, (stem, item) in enumerate(stems.items(), 1):
            _write_image(part / "images", stem, item)
            (part / "labels" / f"{stem}.png").write_bytes(_label_file(item.labels(), dataset))
            progress.update(f"converting {dataset.name}", done, len(stems))
        (part / "classes.json").write_text(_classes_file(dataset), encoding="utf-8")
    return out


def _stem(item: Item) -> str:
    return item.name.replace("/", "__").lstrip(".") or "_"


def _write_image(folder: Path, stem: str, item: Item) -> None:
    image = item.image()  # also where the file is copied: so that it can be read
    data = item.image_bytes() if isinstance(item, FilePair) else cv2.imencode(".png", image)[1].tobytes()
    (folder / f"{stem}{SUFFIXES[header_from_bytes(data).kind]}").write_bytes(data)


def _label_file(labels: np.ndarray, dataset: Dataset) -> bytes:
    """A palette PNG whose indices are classes, 255 being ignored, with a tag that says it lies on the upright image."""
    from PIL import Image

    values = np.where(labels < len(dataset.classes), labels, UNLABELLED).astype(np.uint8)
    image = Image.fromarray(values)
    colours = np.full((256, 3), UNLABELLED, np.uint8)
    colours[: len(dataset.palette)] = dataset.palette
    image.putpalette(colours.ravel().tolist())
    exif = Image.Exif()
    exif[ORIENTATION] = 1
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    return file.getvalue()


def _classes_file(dataset: Dataset) -> str:
    entries = {
        "written": MARK,
        "source": dataset.name,
        "names": list(dataset.classes),
        "palette_rgb": [list(colour) for colour in dataset.palette],
        "ignore_index": UNLABELLED,
        "label_values": list(range(len(dataset.classes))),
    }
    return json.dumps(entries, indent=2) + "\n"


def _require_ours(folder: Path) -> None:
    """Raises BadInput unless the folder was written by `convert_dataset`."""
    listing = folder / "classes.json"
    is_ours = listing.is_file() and read_json(require_file(listing, "classes.json")).get("written") == MARK
    others = [path.name for path in folder.iterdir() if path.name not in ("images", "labels", "classes.json")]
    if not is_ours or others:
        raise BadInput(f"{folder}: exists already, and fcn-edge did not write it; choose another name")
