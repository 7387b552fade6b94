"""COCO instances: polygons, run lengths, crowds, and what is wrong with files."""

from __future__ import annotations

import json
import pickle

import cv2
import numpy as np
import pytest

from fcn_edge.data import dataset_from_name
from fcn_edge.errors import BadInput
from tests.data.formatfiles import CLASSES, HEIGHT, WIDTH, edit_json, labels, write_coco
from tests.labelfiles import exif_from_orientation
from tests.refusals import refused


@pytest.fixture
def coco(tmp_path):
    """Writes the scene, changed by a function of the file's content; gives the data set's name."""

    def write(change=lambda content: None):
        name = write_coco(tmp_path)
        edit_json(tmp_path / "instances.json", change)
        return name

    return write


def first_labels(name):
    return dataset_from_name(name).items[0].labels()


def in_first(key, value):
    return lambda content: content["annotations"][0].update({key: value})


def test_scene_is_read_with_classes_in_the_order_of_their_ids(coco):
    data = dataset_from_name(coco())
    assert data.classes == CLASSES and data.ignore_index == 255 and data.name == "instances"
    assert [item.name for item in data.items] == ["a", "b"]
    for number in range(2):
        np.testing.assert_array_equal(data.items[number].labels(), labels())
        assert data.items[number].image().shape == (HEIGHT, WIDTH, 3)
    assert any("background" in line for line in data.notes.lines)
    assert any("overlap" in line and "2" not in line for line in data.notes.lines)


def test_images_lie_beside_the_file_unless_it_is_said(coco, tmp_path):
    coco()
    (tmp_path / "instances.json").rename(tmp_path / "images" / "_annotations.coco.json")
    data = dataset_from_name(f"coco:{tmp_path / 'images' / '_annotations.coco.json'}")
    np.testing.assert_array_equal(data.items[1].labels(), labels())


def test_items_can_be_sent_to_other_processes(coco):
    item = pickle.loads(pickle.dumps(dataset_from_name(coco()).items[0]))
    np.testing.assert_array_equal(item.labels(), labels())


@pytest.mark.parametrize("is_text", [True, False])
def test_run_lengths_are_read(coco, is_text):
    mask = labels() == CLASSES.index("car")
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    if is_text:
        counts = pytest.importorskip("pycocotools.mask").encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        counts = counts.decode("ascii")

    def change(content):
        car = next(each for each in content["annotations"] if each["category_id"] == 7)
        car["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": counts}

    np.testing.assert_array_equal(first_labels(coco(change)), labels())


def test_crowd_is_ignored_below_the_objects_in_it(coco):
    def change(content):
        everything = [0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]
        crowd = {"id": 5, "image_id": 100, "category_id": 7, "iscrowd": 1, "segmentation": [everything]}
        content["annotations"].append(crowd)

    expected = labels()
    expected[expected == 0] = 255
    np.testing.assert_array_equal(first_labels(coco(change)), expected)


def test_order_and_overlap_decide_which_class_counts(coco):
    name = coco(lambda content: content["annotations"].reverse())
    assert first_labels(name)[22, 15] == CLASSES.index("road")  # it comes after the car now
    assert first_labels(f"{name}#overlap=smaller")[22, 15] == CLASSES.index("car")
    assert first_labels(f"{name}#overlap=ignore")[22, 15] == 255


def test_category_called_background_is_class_0(coco):
    def change(content):
        content["categories"].append({"id": 1, "name": "Background"})
        content["annotations"][1]["category_id"] = 1

    data = dataset_from_name(coco(change))
    assert data.classes == CLASSES and (data.items[0].labels()[15:25, 10:20] == 0).all()


def test_image_without_annotations_is_background_and_said_to_be(coco):
    data = dataset_from_name(coco(lambda content: content["annotations"].__delitem__(slice(3))))
    assert not data.items[0].labels().any() and data.items[1].labels().any()
    assert any(line.startswith("a.jpg: no shape") for line in data.notes.lines)


def jpeg_with_orientation(path, orientation):
    """The picture as a camera held upright stores it: turned, with a tag."""
    picture = cv2.imread(str(path))
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    exif = b"Exif\0\0" + exif_from_orientation(orientation)
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])


def test_shapes_drawn_on_stored_pixels_are_turned_with_the_picture(coco, tmp_path):
    name = coco()
    jpeg_with_orientation(tmp_path / "images" / "a.jpg", 6)
    item = dataset_from_name(name).items[0]
    assert item.image().shape[:2] == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(item.labels(), np.rot90(labels(), -1))


def test_shapes_drawn_on_the_upright_picture_stay(coco, tmp_path):
    def change(content):
        content["images"][0].update(width=HEIGHT, height=WIDTH)

    name = coco(change)
    jpeg_with_orientation(tmp_path / "images" / "a.jpg", 6)
    assert first_labels(name).shape == (WIDTH, HEIGHT) and first_labels(name)[26, 15] == CLASSES.index("road")


def test_half_turned_picture_is_refused_because_either_could_be_meant(coco, tmp_path):
    name = coco()
    jpeg_with_orientation(tmp_path / "images" / "a.jpg", 3)
    with refused(BadInput, "instances.json", "a.jpg", 3):
        first_labels(name)


WRONG_FILES = [
    (lambda content: content.pop("images"), ["images"]),
    (lambda content: content.update(categories={}), ["categories"]),
    (lambda content: content.update(annotations=[]), ["annotations"]),
    (lambda content: content["images"][1].update(id=100), ["images", 100]),
    (lambda content: content["categories"][0].update(id="nine"), ["categories"]),
    (lambda content: content["categories"][0].update(name="road"), ["road"]),
    (lambda content: content["categories"][0].pop("name"), [9]),
    (lambda content: content["images"][1].update(file_name="a.jpg"), ["a"]),
    (lambda content: content["images"][1].pop("file_name"), [101]),
    (lambda content: content["images"][1].update(width=0), [101, "0x30"]),
    (in_first("category_id", 4), ["annotation", 4]),
    (in_first("image_id", 7), ["annotation", 7]),
    (lambda content: [each.update(segments_info=[]) for each in content["annotations"]], ["panoptic"]),
    (lambda content: [each.update(segmentation=[]) for each in content["annotations"]], ["segmentation"]),
]


@pytest.mark.parametrize(("change", "facts"), WRONG_FILES)
def test_wrong_file_is_refused_when_it_is_opened(coco, change, facts):
    with refused(BadInput, "instances.json", *facts):
        dataset_from_name(coco(change))


WRONG_VALUES = [
    ([], ["segmentation"]),
    ([[1, 2, 3, 4]], ["points"]),
    ([[1, 2, 3, 4, 5, "six"]], ["numbers"]),
    ([1, 2, 3, 4, 5, 6], ["numbers"]),
    ({"size": [WIDTH, HEIGHT], "counts": [1200]}, ["size"]),
    ({"size": [HEIGHT, WIDTH], "counts": [1199]}, [1199, 1200]),
]


@pytest.mark.parametrize(("segmentation", "facts"), WRONG_VALUES)
def test_wrong_value_is_refused_with_its_annotation(coco, segmentation, facts):
    name = coco(in_first("segmentation", segmentation))
    with refused(BadInput, "instances.json", "annotation 100000", *facts):
        first_labels(name)


def test_missing_image_is_named(coco, tmp_path):
    name = coco()
    (tmp_path / "images" / "b.jpg").unlink()
    with refused(BadInput, "b.jpg", "instances.json"):
        dataset_from_name(name)


def test_image_of_another_size_is_named(coco, tmp_path):
    name = coco()
    cv2.imwrite(str(tmp_path / "images" / "a.jpg"), np.zeros((HEIGHT, WIDTH + 1, 3), np.uint8))
    with refused(BadInput, "instances.json", "40x30", "41x30"):
        first_labels(name)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("coco:{}", ["folder", "FILE.json,IMAGES"]),
        ("coco:{}/none.json,{}/images", ["none.json"]),
        ("coco:{}/instances.json,{}/none", ["none"]),
        ("coco:{}/instances.json,{}/images#val", ["val"]),
        ("coco:{}/instances.json,{}/images#overlap=largest", ["largest", "smaller"]),
        ("coco:{}/instances.json,{}/images#tolerance=3", ["tolerance", "overlap"]),
    ],
)
def test_wrong_name_is_refused(coco, tmp_path, name, facts):
    coco()
    with refused(BadInput, *facts):
        dataset_from_name(name.replace("{}", str(tmp_path)))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"images": ' + "[" * 100_000])
def test_file_that_is_no_json_object_is_refused(coco, tmp_path, text):
    name = coco()
    (tmp_path / "instances.json").write_text(text)
    with refused(BadInput, "instances.json"):
        dataset_from_name(name)


OTHER_VALUES = (None, -1, 1.5, "x", [], {}, [[]], True, float("nan"), 10**30)


def outcome(name):
    """The shape of the first labels, or "refused" where the set or they are, in one line."""
    try:
        return first_labels(name).shape
    except BadInput as error:
        return "refused" if "\n" not in str(error) else str(error)


def test_values_of_other_types_never_end_in_a_traceback(coco, tmp_path):
    """Each value of the file in turn is replaced by others; the set opens and reads, or is refused."""
    name = coco()
    whole = json.loads((tmp_path / "instances.json").read_text())
    outcomes = set()
    for table in (whole["images"][0], whole["categories"][0], whole["annotations"][0]):
        for key, before in list(table.items()):
            for value in OTHER_VALUES:
                table[key] = value
                (tmp_path / "instances.json").write_text(json.dumps(whole))
                outcomes.add(outcome(name))
            table[key] = before
    assert outcomes == {(HEIGHT, WIDTH), "refused"}


@pytest.mark.slow
def test_class_maps_written_by_coco_s_own_code_come_back_exactly(tmp_path):
    """Streets whose classes are run lengths, one annotation each, and whose ignored pixels are a crowd."""
    coding = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed: nothing to compare with")
    streets = dataset_from_name("synthetic:street,seed=4,images=3,size=90x120")
    content = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": number + 1, "name": name} for number, name in enumerate(streets.classes)]
    expected = []
    for image in range(3):
        values = streets.items[image].labels() + np.uint8(1)
        values[:9] = 255
        values[9:12] = 0
        cv2.imwrite(str(tmp_path / f"{image}.png"), streets.items[image].image())
        content["images"].append({"id": image, "file_name": f"{image}.png", "width": 120, "height": 90})
        for value in np.unique(values[values > 0]):
            runs = coding.encode(np.asfortranarray((values == value).astype(np.uint8)))
            segmentation = {"size": [90, 120], "counts": runs["counts"].decode()}
            category = {"category_id": 1 if value == 255 else int(value), "iscrowd": int(value == 255)}
            number = len(content["annotations"])
            content["annotations"].append({"id": number, "image_id": image, "segmentation": segmentation, **category})
        expected.append(values)
    (tmp_path / "streets.json").write_text(json.dumps(content))
    data = dataset_from_name(f"coco:{tmp_path / 'streets.json'}")
    assert data.classes == ("background", *streets.classes)
    for image in range(3):
        np.testing.assert_array_equal(data.items[image].labels(), expected[image])
