"""The paper's finding on this project's own data: what each skip is worth, as table and picture.

    python benchmarks/skips.py --data camvid:camvid#val 32s.safetensors 16s.safetensors 8s.safetensors

Writes skips.json (the four metrics, trimap mIoU and class IUs of each checkpoint) and skips.png: one crop
of a synthetic street, which is ours to show, with its labels and what each network makes of it.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcn_edge import open_engine
from fcn_edge.atomic_io import whole_file, write_json
from fcn_edge.data import Dataset, dataset_from_name
from fcn_edge.evaluation import evaluate
from fcn_edge.frame import Style
from fcn_edge.metrics import iou_by_name
from fcn_edge.models.checkpoint import checkpoint_from_file

TRIMAP = 3  # pixels
STREET = "synthetic:street,seed=3,images=16,size=360x480"
NUMBER = 13  # pedestrians, a sign on its pole and a street lamp, near and far
CROP = (slice(90, 280), slice(0, 252))
ZOOM = 2
WHITE, INK = (255, 255, 255), (40, 40, 40)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="trained alike, coarsest first")
    parser.add_argument("--data", required=True, help="labelled set, such as camvid:DIR#val")
    parser.add_argument("--out", type=Path, default=Path("docs/explanation"))
    given = parser.parse_args()
    data, street = dataset_from_name(given.data), dataset_from_name(STREET).items[NUMBER]
    rows, panels = [], [(f"street, {CROP[0].stop - CROP[0].start} pixels high", street.image())]
    for path in given.checkpoints:
        row, panel = measured(path, data, street.image())
        rows.append(row)
        panels.append(panel)
        print(f"{row['network']}: mIoU {100 * row['miou']:.1f}, trimap {100 * row['trimap_miou']:.1f}")
    panels.insert(1, ("labels", painted(street.labels(), data)))
    record = {"schema": 1, "data": data.name, "images": len(data.items), "trimap_pixels": TRIMAP, "rows": rows}
    write_json(given.out / "skips.json", record)
    with whole_file(given.out / "skips.png", replaces=True) as part:
        cv2.imwrite(str(part), side_by_side(panels))


def measured(path: Path, data: Dataset, image: np.ndarray) -> tuple[dict[str, Any], tuple[str, np.ndarray]]:
    """(scores of a checkpoint, its captioned class map of `image`)."""
    recipe = checkpoint_from_file(path).header.network
    name = f"FCN-{recipe.stride}s"
    with open_engine(path) as engine:
        found = evaluate(engine, data, trimap=TRIMAP)
        class_map = engine.segment(image, Style(overlay=False)).class_map
    assert found.trimap is not None
    scores = asdict(found.scores)
    del scores["iou"]
    row = {
        "network": name,
        "backbone": recipe.backbone,
        **scores,
        "trimap_miou": found.trimap.miou,
        "iou": iou_by_name(found.scores, data.classes),
    }
    return row, (name, painted(class_map, data))


def painted(class_map: np.ndarray, data: Dataset) -> np.ndarray:
    """(H, W, 3) BGR: each class in its colour, what is not labelled in black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(data.palette)] = np.array(data.palette)[:, ::-1]
    return np.asarray(colours[class_map])


def side_by_side(panels: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """The crop of every panel, enlarged without smoothing, in rows of three under their captions."""
    cells = []
    for caption, picture in panels:
        crop = cv2.resize(picture[CROP], None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
        cell = cv2.copyMakeBorder(crop, 34, 6, 6, 6, cv2.BORDER_CONSTANT, value=WHITE)
        cv2.putText(cell, caption, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, INK, 1, cv2.LINE_AA)
        cells.append(cell)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % 3)
    return np.vstack([np.hstack(cells[start : start + 3]) for start in range(0, len(cells), 3)])


if __name__ == "__main__":
    main()
