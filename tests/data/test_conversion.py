"""A set of any kind becomes folder:OUT with the same images, labels and classes; and contact sheets."""

from __future__ import annotations

import base64
import os

import cv2
import numpy as np
import pytest

from fcn_edge.data import dataset_from_name, open_dataset
from fcn_edge.data.contact_sheet import LINE, PAPER, contact_sheet, write_contact_sheet
from fcn_edge.data.conversion import convert_dataset
from fcn_edge.errors import BadInput
from fcn_edge.outputs import is_ours
from tests.data.formatfiles import (
    CLASSES,
    COLOURS,
    HEIGHT,
    WIDTH,
    edit_json,
    labels,
    write_coco,
    write_colours,
    write_cvat,
    write_labelme,
    write_roboflow,
    write_yolo,
)
from tests.data.test_coco import jpeg_with_orientation
from tests.refusals import refused

WRITERS = [write_coco, write_labelme, write_cvat, write_roboflow, write_colours, write_yolo]


@pytest.mark.parametrize("write", WRITERS)
def test_converted_set_has_the_same_images_labels_and_classes(tmp_path, write):
    if write is write_yolo:
        pytest.importorskip("yaml")
    before = dataset_from_name(write(tmp_path / "export"))
    assert convert_dataset(before, tmp_path / "out") == tmp_path / "out"
    after = dataset_from_name(f"folder:{tmp_path / 'out'}")
    assert (after.classes, after.palette, after.ignore_index) == (before.classes, before.palette, 255)
    assert [item.name for item in after.items] == [item.name for item in before.items]
    for one, other in zip(before.items, after.items):
        np.testing.assert_array_equal(one.labels(), other.labels())
        assert one.sha256() == other.sha256()


def test_streets_which_have_no_files_are_converted_too(tmp_path):
    before = dataset_from_name("synthetic:street,images=2,size=64x96")
    convert_dataset(before, tmp_path / "out")
    after = dataset_from_name(f"folder:{tmp_path / 'out'}")
    for number in range(2):
        np.testing.assert_array_equal(before.items[number].image(), after.items[number].image())
        np.testing.assert_array_equal(before.items[number].labels(), after.items[number].labels())


def test_ignored_pixels_are_255_whatever_they_were(tmp_path):
    for part in ("images", "labels"):
        (tmp_path / "val" / part).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "val" / part / "a_1.png"), np.array([[0, 11, 10]] * 4, np.uint8))
    convert_dataset(dataset_from_name(f"camvid:{tmp_path}#val"), tmp_path / "out")
    after = dataset_from_name(f"folder:{tmp_path / 'out'}")
    assert after.items[0].labels()[0].tolist() == [0, 255, 10] and len(after.classes) == 11


@pytest.mark.parametrize("orientation", [3, 6])
def test_labels_of_turned_pictures_stay_on_them(tmp_path, orientation):
    """Of half a turn, labels without a tag of their own would be refused."""
    name = write_labelme(tmp_path / "in")
    jpeg_with_orientation(tmp_path / "in" / "a.jpg", orientation)
    size = (HEIGHT, WIDTH) if orientation == 3 else (WIDTH, HEIGHT)
    edit_json(tmp_path / "in" / "a.json", lambda content: content.update(imageHeight=size[0], imageWidth=size[1]))
    before = dataset_from_name(name)
    convert_dataset(before, tmp_path / "out")
    after = dataset_from_name(f"folder:{tmp_path / 'out'}")
    np.testing.assert_array_equal(after.items[0].labels(), before.items[0].labels())
    np.testing.assert_array_equal(after.items[0].image(), before.items[0].image())


def test_picture_inside_a_json_file_is_written_as_a_file(tmp_path):
    name = write_labelme(tmp_path / "in")
    data = (tmp_path / "in" / "a.jpg").read_bytes()
    edit_json(tmp_path / "in" / "a.json", lambda content: content.update(imageData=base64.b64encode(data).decode()))
    (tmp_path / "in" / "a.jpg").unlink()
    for number, given in enumerate((name, f"{name}#ignore=tree")):
        convert_dataset(dataset_from_name(given), tmp_path / f"out{number}")
        assert (tmp_path / f"out{number}" / "images" / "a.jpg").read_bytes() == data


def test_folders_in_names_become_underscores(tmp_path):
    convert_dataset(dataset_from_name(write_coco(tmp_path / "in", ("x/a", "y/a"))), tmp_path / "out")
    assert [item.name for item in dataset_from_name(f"folder:{tmp_path / 'out'}").items] == ["x__a", "y__a"]
    with refused(BadInput, "x/a", "x__a"):
        convert_dataset(dataset_from_name(write_coco(tmp_path / "two", ("x/a", "x__a"))), tmp_path / "other")


def test_converted_folder_is_replaced_and_others_are_not(tmp_path):
    data = dataset_from_name(write_coco(tmp_path / "in"))
    for _ in range(2):
        convert_dataset(data, tmp_path / "out")
    (tmp_path / "out" / "mine.txt").touch()
    with refused(BadInput, "out"):
        convert_dataset(data, tmp_path / "out")
    own = write_colours(tmp_path / "own").removeprefix("colours:")
    with refused(BadInput, "own"):
        convert_dataset(data, tmp_path / "own")
    assert sorted(os.listdir(own)) == ["class_dict.csv", "images", "labels"]


def test_folder_that_is_read_is_never_written(tmp_path):
    data = dataset_from_name(write_coco(tmp_path / "in"))
    for folder in (tmp_path / "in", tmp_path / "in" / "images", tmp_path):
        with refused(BadInput, "read"):
            convert_dataset(data, folder)


def test_pair_that_cannot_be_read_leaves_nothing(tmp_path):
    name = write_coco(tmp_path / "in")
    (tmp_path / "in" / "images" / "b.jpg").write_bytes(b"nothing")
    with refused(BadInput, "b.jpg"):
        convert_dataset(dataset_from_name(name), tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["in"]


# Contact sheets


def test_sheet_shows_classes_in_their_colours_and_names_below(tmp_path):
    data = dataset_from_name(write_coco(tmp_path))
    sheet = contact_sheet(data, images=2, columns=2, width=WIDTH * 2)
    assert sheet.names == ["a", "b"] and sheet.unreadable == []
    height, width = sheet.picture.shape[:2]
    assert width == 2 * WIDTH * 2 + 8
    tile = sheet.picture[height - LINE - 2 * HEIGHT : height - LINE, : 2 * WIDTH]
    image = cv2.resize(data.items[0].image(), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_AREA)
    road = np.array(data.palette[CLASSES.index("road")][::-1])
    is_road = cv2.resize(labels(), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_NEAREST) == CLASSES.index("road")
    np.testing.assert_allclose(tile[is_road], image[is_road] / 2 + road / 2, atol=1.5)


def test_sheet_spreads_over_the_set_and_has_an_own_line_for_each_class_it_needs():
    data = open_dataset("synthetic:street,images=30,size=64x96")
    sheet = contact_sheet(data, images=4, columns=2, width=96)
    assert sheet.names == [f"street1_{number:06d}" for number in (0, 10, 19, 29)]
    wide = contact_sheet(data, images=4, columns=4, width=400)
    heading = wide.picture.shape[0] - round(64 * 400 / 96) - LINE
    assert sheet.picture.shape[0] - 2 * (64 + LINE) > heading  # the same legend takes more lines


def test_ignored_pixels_are_striped_and_nothing_else(tmp_path):
    data = dataset_from_name(write_colours(tmp_path) + "#ignore=background")
    sheet = contact_sheet(data, images=1, columns=1, width=WIDTH * 4)
    tile = sheet.picture[-LINE - 4 * HEIGHT : -LINE]
    is_ignored = cv2.resize(labels(), (4 * WIDTH, 4 * HEIGHT), interpolation=cv2.INTER_NEAREST) == 0
    is_white = (tile == PAPER).all(axis=2)
    assert 0.4 < is_white[is_ignored].mean() < 0.6 and not is_white[~is_ignored].any()


def test_image_that_cannot_be_read_is_named(tmp_path):
    name = write_coco(tmp_path)
    (tmp_path / "images" / "a.jpg").write_bytes(b"nothing")
    sheet = contact_sheet(dataset_from_name(name), images=2, columns=1)
    assert len(sheet.unreadable) == 1 and "a.jpg" in sheet.unreadable[0] and sheet.names == ["a", "b"]


@pytest.mark.parametrize("options", [{"images": 0}, {"images": 401}, {"columns": 0}, {"columns": 21}, {"width": 8}])
def test_numbers_that_give_no_sheet_are_refused(options):
    with refused(BadInput, "`images`", "`columns`", "`width`"):
        contact_sheet(open_dataset("synthetic:street,images=2,size=64x96"), **options)


def test_sheet_is_a_png_of_ours_and_replaces_no_other(tmp_path):
    sheet = contact_sheet(dataset_from_name(write_colours(tmp_path)), images=2, columns=2)
    write_contact_sheet(tmp_path / "sheet.png", sheet)
    write_contact_sheet(tmp_path / "sheet.png", sheet)
    assert is_ours(tmp_path / "sheet.png")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "sheet.png")), sheet.picture)
    with refused(BadInput, "a.png"):
        write_contact_sheet(tmp_path / "labels" / "a.png", sheet)


def test_palette_of_the_label_files_is_that_of_the_set(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    convert_dataset(dataset_from_name(write_colours(tmp_path / "in")), tmp_path / "out")
    with image_module.open(tmp_path / "out" / "labels" / "a.png") as image:
        assert image.mode == "P" and image.getpalette()[:12] == [part for c in COLOURS.values() for part in c]
