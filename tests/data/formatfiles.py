"""Data sets as labelling tools export them: two pictures of 40x30 with a road, a car on it, and a tree.

Each writer takes a folder and gives the data set's name. The same scene is in each: `CLASSES`, `LABELS`.
"""

from __future__ import annotations

import base64
import json

import cv2
import numpy as np

WIDTH, HEIGHT = 40, 30
ROAD = [0.0, 20.0, 40.0, 20.0, 40.0, 30.0, 0.0, 30.0]
CAR = [10.0, 15.0, 20.0, 15.0, 20.0, 25.0, 10.0, 25.0]
TREE = [30.0, 5.0, 36.0, 5.0, 36.0, 20.0, 30.0, 20.0]
SHAPES = [("road", ROAD), ("car", CAR), ("tree", TREE)]
NAMES = ["road", "car", "tree"]
CLASSES = ("background", "road", "car", "tree")
COLOURS = {"background": (0, 0, 0), "road": (128, 64, 128), "car": (0, 0, 142), "tree": (107, 142, 35)}


def labels(names=CLASSES):
    """The scene's class indices (30, 40), for classes in this order."""
    values = np.full((HEIGHT, WIDTH), names.index("background") if "background" in names else 0, np.uint8)
    values[20:30, :] = names.index("road")
    values[15:25, 10:20] = names.index("car")
    values[5:20, 30:36] = names.index("tree")
    return values


def picture(seed):
    """(30, 40, 3) uint8 of a colour for each class, and noise."""
    colours = np.array([(200, 180, 160), (90, 90, 90), (30, 30, 200), (40, 120, 40)], np.int16)
    noise = np.random.default_rng(seed).integers(-20, 20, (HEIGHT, WIDTH, 3))
    return np.clip(colours[labels()] + noise, 0, 255).astype(np.uint8)


def write_picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture(seed))
    return path


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def write_coco(folder, stems=("a", "b")):
    """As COCO and most tools export: ids from 1, polygons, areas and boxes."""
    images = [
        {"id": 100 + n, "file_name": f"{stem}.jpg", "width": WIDTH, "height": HEIGHT} for n, stem in enumerate(stems)
    ]
    for n, stem in enumerate(stems):
        write_picture(folder / "images" / f"{stem}.jpg", n)
    numbers = {"road": 3, "car": 7, "tree": 9}
    annotations = [
        {
            "id": 1000 * image["id"] + n,
            "image_id": image["id"],
            "category_id": numbers[name],
            "segmentation": [points],
            "area": 1.0,
            "bbox": [0, 0, 1, 1],
            "iscrowd": 0,
        }
        for image in images
        for n, (name, points) in enumerate(SHAPES)
    ]
    categories = [{"id": numbers[name], "name": name, "supercategory": "street"} for name in ("tree", "road", "car")]
    content = {"info": {"year": 2026}, "licenses": [], "images": images, "categories": categories}
    file = write_json(folder / "instances.json", {**content, "annotations": annotations})
    return f"coco:{file},{folder / 'images'}"


def labelme_content(image_name, shapes=SHAPES):
    """As labelme 5.5 writes it."""
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {
                "label": name,
                "points": np.reshape(points, (-1, 2)).tolist(),
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for name, points in shapes
        ],
        "imagePath": image_name,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }


def write_labelme(folder, stems=("a", "b"), names=NAMES):
    for n, stem in enumerate(stems):
        write_picture(folder / f"{stem}.jpg", n)
        write_json(folder / f"{stem}.json", labelme_content(f"{stem}.jpg"))
    if names:
        (folder / "labels.txt").write_text("\n".join(["__ignore__", "_background_", *names]) + "\n")
    return f"labelme:{folder}"


def write_yolo(folder, stems=("a", "b"), names=NAMES, split="train"):
    """As Ultralytics documents it, with paths as Roboflow writes them."""
    for n, stem in enumerate(stems):
        write_picture(folder / split / "images" / f"{stem}.jpg", n)
        lines = [f"{names.index(name)} {shares(points)}" for name, points in SHAPES]
        (folder / split / "labels").mkdir(exist_ok=True)
        (folder / split / "labels" / f"{stem}.txt").write_text("\n".join(lines) + "\n")
    text = f"train: ../{split}/images\nval: ../{split}/images\n\nnc: {len(names)}\nnames: {json.dumps(names)}\n"
    (folder / "data.yaml").write_text(text)
    return f"yolo:{folder / 'data.yaml'}#train"


def shares(points):
    return " ".join(f"{value / side:.6f}" for value, side in zip(points, [WIDTH, HEIGHT] * (len(points) // 2)))


def png_text(mask):
    """A mask as labelme stores it: a PNG in base64."""
    return base64.b64encode(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes()).decode()


def coloured(names=CLASSES, colours=COLOURS):
    """The scene as a mask (30, 40, 3) BGR of a colour for each class."""
    return np.array([colours[name] for name in names], np.uint8)[labels(names)][:, :, ::-1]


def write_masks(folder, stems=("a", "b"), mask=None, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        cv2.imwrite(str(folder / f"{stem}{suffix}"), coloured() if mask is None else mask)


def write_colours(folder, stems=("a", "b"), suffix=".png"):
    """RGB-coded masks and a colour map as Kaggle's CamVid has it."""
    for n, stem in enumerate(stems):
        write_picture(folder / "images" / f"{stem}.jpg", n)
    write_masks(folder / "labels", stems, suffix=suffix)
    rows = [f"{name},{r},{g},{b}" for name, (r, g, b) in COLOURS.items()]
    (folder / "class_dict.csv").write_text("\n".join(["name,r,g,b", *rows]) + "\n")
    return f"colours:{folder}"


def write_cvat(folder, stems=("a", "b")):
    """As CVAT exports "Segmentation mask 1.1" with images."""
    for n, stem in enumerate(stems):
        write_picture(folder / "JPEGImages" / f"{stem}.jpg", n)
    write_masks(folder / "SegmentationClass", stems)
    rows = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in COLOURS.items()]
    (folder / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *rows]) + "\n")
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation" / "default.txt").write_text("\n".join(stems) + "\n")
    return f"cvat:{folder}"


def write_roboflow(folder, stems=("a_jpg.rf.0c1", "b_jpg.rf.7fe"), splits=("train", "valid")):
    """As Roboflow exports "Semantic segmentation masks"."""
    for split in splits:
        for n, stem in enumerate(stems):
            write_picture(folder / split / f"{stem}.jpg", n)
            cv2.imwrite(str(folder / split / f"{stem}_mask.png"), labels())
        rows = [f" {value}, {name}" for value, name in enumerate(CLASSES)]
        (folder / split / "_classes.csv").write_text("\n".join(["Pixel Value, Class", *rows]) + "\n")
    return f"roboflow:{folder}#train"


def write_ade20k(folder, stems=("ADE_val_00000001", "ADE_val_00000002")):
    """As ADEChallengeData2016: 0 is other; road is 7, car 21, tree 5."""
    table = np.array([0, 7, 21, 5], np.uint8)
    for n, stem in enumerate(stems):
        write_picture(folder / "images" / "validation" / f"{stem}.jpg", n)
        (folder / "annotations" / "validation").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "annotations" / "validation" / f"{stem}.png"), table[labels()])
    return f"ade20k:{folder}#val"
