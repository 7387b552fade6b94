"""labelme: shapes of every kind, classes from a list or from the files, and what is wrong with them."""

from __future__ import annotations

import base64
import json
import pickle

import numpy as np
import pytest

from fcn_edge.data import dataset_from_name
from fcn_edge.errors import BadInput
from tests.data.formatfiles import (
    CLASSES,
    HEIGHT,
    NAMES,
    WIDTH,
    edit_json,
    labelme_content,
    labels,
    png_text,
    write_json,
    write_labelme,
    write_picture,
)
from tests.data.test_coco import OTHER_VALUES, jpeg_with_orientation, outcome
from tests.refusals import refused


@pytest.fixture
def labelme(tmp_path):
    """Writes the scene, a.json changed by a function of its content; gives the data set's name."""

    def write(change=lambda content: None, names=NAMES):
        name = write_labelme(tmp_path, names=names)
        edit_json(tmp_path / "a.json", change)
        return name

    return write


def first_labels(name):
    return dataset_from_name(name).items[0].labels()


def with_shape(label="car", **entries):
    shape = {"label": label, "shape_type": "polygon", **entries}
    return lambda content: content["shapes"].append(shape)


def test_scene_is_read_with_the_classes_of_labels_txt(labelme):
    data = dataset_from_name(labelme())
    assert data.classes == CLASSES and data.ignore_index == 255
    assert [item.name for item in data.items] == ["a", "b"]
    np.testing.assert_array_equal(data.items[1].labels(), labels())
    assert data.items[1].image().shape == (HEIGHT, WIDTH, 3)
    assert pickle.loads(pickle.dumps(data.items[0])).sha256() == data.items[0].sha256()


def test_without_a_list_all_labels_of_all_splits_are_the_classes_in_alphabetical_order(tmp_path):
    write_labelme(tmp_path / "train", names=())
    write_picture(tmp_path / "val" / "c.jpg")
    write_json(tmp_path / "val" / "c.json", labelme_content("c.jpg", [("bus", [0, 0, 9, 0, 9, 9])]))
    classes = ("background", "bus", "car", "road", "tree")
    for split in ("#train", "#val", ""):
        assert dataset_from_name(f"labelme:{tmp_path}{split}").classes == classes
    np.testing.assert_array_equal(first_labels(f"labelme:{tmp_path}#train"), labels(classes))
    assert [item.name for item in dataset_from_name(f"labelme:{tmp_path}").items] == ["train/a", "train/b", "val/c"]


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        ({"shape_type": "rectangle", "points": [[2, 1], [8, 4]]}, (1, 4), (2, 8)),
        ({"shape_type": "rectangle", "points": [[8, 4], [2, 1]]}, (1, 4), (2, 8)),
        ({"shape_type": None, "points": [[2, 1], [8, 1], [8, 4], [2, 4]]}, (1, 4), (2, 8)),
        (
            {"shape_type": "mask", "points": [[2, 1], [7, 3]], "mask": png_text(np.ones((3, 6)))},
            (1, 4),
            (2, 8),
        ),
    ],
)
def test_shapes_that_cover_a_rectangle(labelme, shape, rows, columns):
    expected = labels()
    expected[slice(*rows), slice(*columns)] = CLASSES.index("car")
    np.testing.assert_array_equal(first_labels(labelme(with_shape(**shape))), expected)


def test_circle_is_given_by_its_centre_and_a_point_on_it(labelme):
    values = first_labels(labelme(with_shape(shape_type="circle", points=[[5, 5], [5, 9]])))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    is_inside = (rows - 5) ** 2 + (columns - 5) ** 2 <= 16
    np.testing.assert_array_equal(values[:14] == CLASSES.index("car"), is_inside[:14])


def test_later_shapes_are_drawn_over_earlier_ones_also_background_and_ignored(labelme):
    box = [[0, 20], [10, 20], [10, 30], [0, 30]]
    values = first_labels(labelme(with_shape("_background_", points=box)))
    assert (values[20:, :10] == 0).all()
    values = first_labels(labelme(with_shape("__ignore__", points=box)))
    assert (values[20:, :10] == 255).all() and (values[20:, 20:] == 1).all()


def test_picture_inside_the_json_file_is_read_where_there_is_no_other(labelme, tmp_path):
    name = labelme()
    data = (tmp_path / "a.jpg").read_bytes()
    expected = dataset_from_name(name).items[0].image()
    edit_json(tmp_path / "a.json", lambda content: content.update(imageData=base64.b64encode(data).decode()))
    (tmp_path / "a.jpg").unlink()
    item = dataset_from_name(name).items[0]
    np.testing.assert_array_equal(item.image(), expected)
    np.testing.assert_array_equal(item.labels(), labels())


def test_image_is_found_by_a_path_of_windows(labelme, tmp_path):
    (tmp_path / "sub").mkdir()
    name = labelme(lambda content: content.update(imagePath="..\\pictures\\a.jpg"))
    assert dataset_from_name(name).items[0].image_path == tmp_path / "a.jpg"


def test_picture_without_json_is_left_out_and_noted(labelme, tmp_path):
    name = labelme()
    write_picture(tmp_path / "c.jpg")
    data = dataset_from_name(name)
    assert len(data.items) == 2 and any(line.startswith("c.jpg") for line in data.notes.lines)


@pytest.mark.parametrize("orientation", [3, 6])
def test_labels_lie_on_the_upright_picture_because_labelme_shows_it(labelme, tmp_path, orientation):
    name = labelme(lambda content: content.update(imageWidth=HEIGHT, imageHeight=WIDTH) if orientation == 6 else None)
    jpeg_with_orientation(tmp_path / "a.jpg", orientation)
    item = dataset_from_name(name).items[0]
    assert item.image().shape[:2] == item.labels().shape and item.labels()[22, 5] == CLASSES.index("road")


WRONG_FILES = [
    (lambda content: content.pop("shapes"), ["shapes"]),
    (lambda content: content.pop("imagePath"), ["imagePath"]),
    (lambda content: content.update(imagePath=None), ["imagePath"]),
    (lambda content: content["shapes"][0].pop("label"), ["label"]),
    (lambda content: content.update(shapes=["car"]), ["label"]),
]


@pytest.mark.parametrize(("change", "facts"), WRONG_FILES)
def test_wrong_file_is_refused_when_it_is_opened(labelme, change, facts):
    with refused(BadInput, "a.json", *facts):
        dataset_from_name(labelme(change))


WRONG_VALUES = [
    (with_shape("lorry", points=[[0, 0], [5, 5], [0, 5]]), ["shape 4", "lorry", "labels.txt"]),
    (with_shape(points=[[0, 0], [5, 5]]), ["shape 4", 2]),
    (with_shape(points=None), ["shape 4"]),
    (with_shape(shape_type="linestrip", points=[[0, 0], [5, 5]]), ["shape 4", "linestrip"]),
    (with_shape(shape_type="circle", points=[[0, 0]]), ["shape 4", "circle", 2]),
    (with_shape(shape_type="rectangle", points=[["a", 0], [1, 1]]), ["shape 4"]),
    (with_shape(shape_type="mask", points=[[0, 0], [5, 5]], mask=None), ["shape 4", "mask"]),
    (with_shape(shape_type="mask", points=[[0, 0], [5, 5]], mask="AAAA"), ["shape 4"]),
    (
        with_shape(shape_type="mask", points=[[0, 0], [5, 5]], mask=png_text(np.ones((20, 20)))),
        ["shape 4", "20x20", "6x6"],
    ),
    (lambda content: content.update(imageWidth=WIDTH + 1), ["41x30", "40x30"]),
    (lambda content: content.update(imageWidth="wide"), ["wide"]),
    (lambda content: content.update(imageWidth=10**9), ["1000000000x30"]),
]


@pytest.mark.parametrize(("change", "facts"), WRONG_VALUES)
def test_wrong_value_is_refused_with_its_shape(labelme, change, facts):
    name = labelme(change)
    with refused(BadInput, "a.json", *facts):
        first_labels(name)


def test_missing_image_is_named(labelme, tmp_path):
    name = labelme()
    (tmp_path / "b.jpg").unlink()
    with refused(BadInput, "b.jpg", "b.json", "imageData"):
        dataset_from_name(name)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"a": "' + "x" * 9 + '"}'])
def test_json_of_something_else_is_refused(labelme, tmp_path, text):
    name = labelme()
    (tmp_path / "a.json").write_text(text)
    with refused(BadInput, "a.json"):
        dataset_from_name(name)


def test_folder_without_files_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    for name, fact in ((f"labelme:{tmp_path}#train", "train"), (f"labelme:{tmp_path}#val", "val")):
        with refused(BadInput, fact):
            dataset_from_name(name)


def test_values_of_other_types_never_end_in_a_traceback(labelme, tmp_path):
    name = labelme()
    whole = json.loads((tmp_path / "a.json").read_text())
    outcomes = set()
    for table in (whole, whole["shapes"][0]):
        for key, before in list(table.items()):
            for value in OTHER_VALUES:
                table[key] = value
                (tmp_path / "a.json").write_text(json.dumps(whole))
                outcomes.add(outcome(name))
            table[key] = before
    assert outcomes == {(HEIGHT, WIDTH), "refused"}
