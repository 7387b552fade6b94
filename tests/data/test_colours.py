"""RGB-coded masks: colour maps of every form, kinds of label files, tolerance, and what is wrong with them."""

from __future__ import annotations

import json
import pickle

import cv2
import numpy as np
import pytest

from fcn_edge.data import dataset_from_name
from fcn_edge.data.coded import codes_from_file
from fcn_edge.data.colour_maps import colour_map_from_file
from fcn_edge.errors import BadInput
from tests.data.formatfiles import (
    CLASSES,
    COLOURS,
    HEIGHT,
    WIDTH,
    coloured,
    labels,
    write_colours,
    write_masks,
    write_picture,
)
from tests.data.test_coco import jpeg_with_orientation
from tests.labelfiles import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, png_from_samples
from tests.refusals import refused


@pytest.fixture
def colours(tmp_path):
    """Writes the scene; gives the data set's name."""
    return write_colours(tmp_path)


def first_labels(name):
    return dataset_from_name(name).items[0].labels()


def test_scene_is_read_with_names_and_colours_of_the_map(colours, tmp_path):
    data = dataset_from_name(colours)
    assert data.classes == CLASSES and data.palette == tuple(COLOURS.values())
    assert data.ignore_index == 255 and data.name == tmp_path.name
    assert [item.name for item in data.items] == ["a", "b"]
    np.testing.assert_array_equal(data.items[1].labels(), labels())
    assert data.items[1].image().shape == (HEIGHT, WIDTH, 3)
    assert pickle.loads(pickle.dumps(data.items[0])).sha256() == data.items[0].sha256()


LISTS = {name: list(colour) for name, colour in COLOURS.items()}
HEXES = {name: "#{:02x}{:02X}{:02x}".format(*colour) for name, colour in COLOURS.items()}
MAPS = {
    "colours.json": json.dumps({"names": list(COLOURS), "palette_rgb": list(COLOURS.values()), "ignore_index": 255}),
    "classes.json": json.dumps(LISTS),
    "colors.json": json.dumps(HEXES),
    "labels.json": json.dumps([{"name": name, "color": colour, "id": 3} for name, colour in HEXES.items()]),
    "names.json": json.dumps([{"label": name, "rgb": colour} for name, colour in LISTS.items()]),
    "colours.csv": "id;class;red;green;blue\n" + "".join(f"1;{n};{r};{g};{b}\n" for n, (r, g, b) in COLOURS.items()),
    "classes.csv": "\ufeffR,G,B,Name\r\n" + "".join(f"{r}, {g}, {b}, {n}\r\n" for n, (r, g, b) in COLOURS.items()),
    "labelmap.txt": "# label:color_rgb:parts:actions\n"
    + "".join(f"{n}:{r},{g},{b}::\n" for n, (r, g, b) in COLOURS.items()),
    "label_colors.txt": "".join(f"{r} {g} {b}\t{n}\n" for n, (r, g, b) in COLOURS.items()),
}


@pytest.mark.parametrize("file", MAPS)
def test_colour_maps_of_every_form_are_read(tmp_path, file):
    (tmp_path / file).write_text(MAPS[file], encoding="utf-8")
    colours = colour_map_from_file(tmp_path / file)
    assert colours.names == tuple(COLOURS) and colours.colours == tuple(COLOURS.values())


def test_labelmap_without_colours_means_those_of_voc(tmp_path):
    (tmp_path / "labelmap.txt").write_text("background:::\nroad:::\ncar:::\n")
    assert colour_map_from_file(tmp_path / "labelmap.txt").colours == ((0, 0, 0), (128, 0, 0), (0, 128, 0))


WRONG_MAPS = [
    ("a.json", "", []),
    ("a.json", "[1, 2]", ["name"]),
    ("a.json", '"red"', ["str"]),
    ("a.json", '{"names": ["a"], "palette_rgb": []}', ["palette_rgb"]),
    ("a.json", '{"names": ["a", "b"], "palette_rgb": [[0, 0, 0], [9, 9, 9]], "ignore_index": 1}', ["ignore_index"]),
    ("a.json", '{"a": [0, 0]}', ["r, g, b"]),
    ("a.json", '{"a": [0, 0, 256]}', [256, 255]),
    ("a.json", '{"a": [0.5, 0, 0]}', ["0.5"]),
    ("a.json", '{"a": [true, 0, 0]}', ["True"]),
    ("a.json", '{"a": "#12345"}', ["#12345"]),
    ("a.json", '{"a": null}', ["None"]),
    ("a.json", '{"a": 7}', [7]),
    ("a.json", '{"a": [1, 1, 1], "b": [1, 1, 1]}', ["(1, 1, 1)"]),
    ("a.json", '[{"name": "a", "color": [1, 1, 1]}, {"name": "a", "color": [2, 1, 1]}]', ["a"]),
    ("a.json", "{}", [0]),
    ("a.csv", "name,r,g\na,1,2\n", ["name, r, g, b"]),
    ("a.csv", "name,r,g,b\na,1,2\n", ["name, r, g, b"]),
    ("a.csv", "name,r,g,b\na,1,2,x\n", ["r, g, b"]),
    ("a.csv", "name,r,g,b\n,1,2,3\n", ["name"]),
    ("a.csv", "\n", ["name, r, g, b"]),
    ("a.txt", "road 1 2 3\n", ["road 1 2 3"]),
    ("a.txt", "road:1,2::\n", ["r, g, b"]),
    ("a.txt", "road:1,2,3::\ncar:::\n", ["r, g, b"]),
    ("a.txt", "\ufffd" * 500_001, [1_500_003]),
]


@pytest.mark.parametrize(("file", "text", "facts"), WRONG_MAPS)
def test_wrong_colour_map_is_refused(tmp_path, file, text, facts):
    (tmp_path / file).write_text(text, encoding="utf-8")
    with refused(BadInput, file, *facts):
        colour_map_from_file(tmp_path / file)


def test_colour_map_has_to_be_there_and_to_be_the_only_one(colours, tmp_path):
    (tmp_path / "colors.json").write_text(MAPS["colors.json"])
    with refused(BadInput, "colors.json", "class_dict.csv", "map"):
        dataset_from_name(colours)
    assert dataset_from_name(f"{colours}#map=colors.json").classes == CLASSES
    for file in ("colors.json", "class_dict.csv"):
        (tmp_path / file).unlink()
    with refused(BadInput, "class_dict.csv", "map"):
        dataset_from_name(colours)
    with refused(BadInput, "none.csv"):
        dataset_from_name(f"{colours}#map=none.csv")


def test_split_is_a_folder_and_masks_is_a_name_for_labels(tmp_path):
    write_colours(tmp_path / "val")
    (tmp_path / "val" / "class_dict.csv").rename(tmp_path / "class_dict.csv")
    (tmp_path / "val" / "labels").rename(tmp_path / "val" / "masks")
    np.testing.assert_array_equal(first_labels(f"colours:{tmp_path}#val"), labels())


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_files_without_loss_are_read_exactly(tmp_path, suffix):
    np.testing.assert_array_equal(first_labels(write_colours(tmp_path, suffix=suffix)), labels())


SAMPLES = np.random.default_rng(0).integers(0, 4, (HEIGHT, WIDTH))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_palette_is_read_as_its_colours(tmp_path, bits):
    (tmp_path / "a.png").write_bytes(png_from_samples(SAMPLES, bits, PALETTE))
    table = np.random.default_rng(bits).integers(0, 256, (2**bits, 3), np.uint8).astype(int)  # as png_from_samples has
    expected = table[SAMPLES] @ (65536, 256, 1)
    np.testing.assert_array_equal(codes_from_file(tmp_path / "a.png").values, expected)


def test_grey_and_opaque_alpha_are_colours_too(tmp_path):
    (tmp_path / "a.png").write_bytes(png_from_samples(SAMPLES, 8, GREY))
    np.testing.assert_array_equal(codes_from_file(tmp_path / "a.png").values, SAMPLES * 0x010101)
    opaque = np.concatenate([np.repeat(SAMPLES[:, :, None], 3, axis=2), np.full((HEIGHT, WIDTH, 1), 255)], axis=2)
    (tmp_path / "a.png").write_bytes(png_from_samples(opaque, 8, RGB_ALPHA))
    np.testing.assert_array_equal(codes_from_file(tmp_path / "a.png").values, SAMPLES * 0x010101)


def test_channels_are_not_exchanged(tmp_path):
    pixel = np.array([[[1, 2, 3]]])
    (tmp_path / "a.png").write_bytes(png_from_samples(pixel, 8, RGB))
    assert codes_from_file(tmp_path / "a.png").values.tolist() == [[0x010203]]


@pytest.mark.parametrize(
    ("bits", "colour_type", "channels"), [(16, RGB, 3), (8, RGB_ALPHA, 4), (16, GREY, 1), (8, GREY_ALPHA, 2)]
)
def test_transparent_pixels_and_16_bits_are_refused(tmp_path, bits, colour_type, channels):
    samples = np.random.default_rng(1).integers(0, 2**bits, (5, 6, channels))
    (tmp_path / "a.png").write_bytes(png_from_samples(samples.squeeze(), bits, colour_type))
    with refused(BadInput, "a.png"):
        codes_from_file(tmp_path / "a.png")


def test_jpeg_masks_need_a_tolerance_and_are_then_right_but_for_their_edges(tmp_path):
    name = write_colours(tmp_path, suffix=".jpg")
    with refused(BadInput, "a.jpg", "JPEG", "tolerance"):
        first_labels(name)
    found = first_labels(f"{name}#tolerance=30")
    is_sure = cv2.morphologyEx(labels(), cv2.MORPH_GRADIENT, np.ones((5, 5))) == 0
    assert (found[is_sure] == labels()[is_sure]).mean() > 0.97
    wrong = (found != labels()) & (found != 255)
    assert wrong.mean() < 0.02


def test_pixels_beyond_the_tolerance_are_ignored_and_noted(colours, tmp_path):
    mask = coloured().copy()
    mask[0, :3] = (9, 9, 9), (10, 10, 10), (11, 0, 0)
    write_masks(tmp_path / "labels", mask=mask)
    data = dataset_from_name(f"{colours}#tolerance=10")
    assert data.items[0].labels()[0, :4].tolist() == [0, 0, 255, 0]
    assert any("a.png" in line and "10" in line for line in data.notes.lines)


@pytest.mark.parametrize(
    ("tolerance", "facts"),
    [("61", ["61", "121"]), ("128", ["128", 127]), ("-1", ["-1"]), ("x", ["x"]), ("1.5", ["1.5"])],
)
def test_tolerance_that_cannot_be_is_refused(tmp_path, tolerance, facts):
    name = write_colours(tmp_path)
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nwall,0,0,0\ndoor,100,121,0\n")
    with refused(BadInput, *facts):
        dataset_from_name(f"{name}#tolerance={tolerance}")


def test_class_that_is_called_void_is_ignored_where_it_is_said(colours):
    data = dataset_from_name(f"{colours}#ignore=background")
    assert data.classes == CLASSES[1:]
    assert (data.items[0].labels()[labels() == 0] == 255).all() and data.items[0].labels()[29, 0] == 0


def test_wrong_value_is_refused_with_its_colour_and_the_nearest_class(colours, tmp_path):
    mask = coloured().copy()
    mask[3:5, 3:5] = (140, 1, 1)  # BGR
    write_masks(tmp_path / "labels", mask=mask)
    with refused(BadInput, "a.png", 4, "(1, 1, 140)", "car", 2):
        first_labels(colours)


def test_wrong_file_is_refused(colours, tmp_path):
    (tmp_path / "labels" / "a.png").write_bytes(b"not a picture")
    with refused(BadInput, "a.png"):
        first_labels(colours)
    (tmp_path / "labels" / "a.png").write_bytes((tmp_path / "labels" / "b.png").read_bytes()[:60])
    with refused(BadInput, "a.png"):
        first_labels(colours)
    cv2.imwrite(str(tmp_path / "labels" / "a.png"), coloured()[:-1])
    with refused(BadInput, "a.png", "40x29", "40x30"):
        first_labels(colours)


def test_missing_labels_and_missing_images_are_named(colours, tmp_path):
    (tmp_path / "labels" / "b.png").unlink()
    with refused(BadInput, "b.jpg", "b.png"):
        dataset_from_name(colours)
    write_masks(tmp_path / "labels", ["b"])
    write_masks(tmp_path / "labels", ["b"], suffix=".bmp")
    with refused(BadInput, "b.png", "b.bmp"):
        dataset_from_name(colours)
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    with refused(BadInput, "images"):
        dataset_from_name(colours)


def test_labels_are_turned_as_those_of_other_sets(colours, tmp_path):
    jpeg_with_orientation(tmp_path / "images" / "a.jpg", 6)
    np.testing.assert_array_equal(first_labels(colours), np.rot90(labels(), -1))


def facades(folder):
    """Picture and labels side by side, as facades come: cmp_b0001.jpg, cmp_b0001.png, and another file."""
    for n in (1, 2):
        write_picture(folder / f"cmp_b000{n}.jpg", n)
        write_masks(folder, [f"cmp_b000{n}"])
        (folder / f"cmp_b000{n}.xml").write_text("<objects/>")
    (folder / "class_dict.csv").write_text(MAPS["classes.csv"], encoding="utf-8")


def test_files_of_one_folder_are_paired_by_patterns(tmp_path):
    facades(tmp_path)
    data = dataset_from_name(f"colours:{tmp_path}#images=cmp_*.jpg,labels=cmp_*.png")
    assert [item.name for item in data.items] == ["b0001", "b0002"]
    np.testing.assert_array_equal(data.items[1].labels(), labels())


def test_index_masks_are_paired_by_patterns_too(tmp_path):
    write_picture(tmp_path / "png_images" / "IMAGES" / "img_0001.png")
    (tmp_path / "png_masks" / "MASKS").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "png_masks" / "MASKS" / "seg_0001.png"), labels())
    (tmp_path / "classes.json").write_text(json.dumps({"names": CLASSES}))
    name = f"folder:{tmp_path}#images=png_images/IMAGES/img_*.png,labels=png_masks/MASKS/seg_*.png"
    data = dataset_from_name(name)
    assert data.items[0].name == "0001"
    np.testing.assert_array_equal(data.items[0].labels(), labels())


def test_label_files_are_no_images_of_a_pattern_that_they_match(tmp_path):
    write_picture(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "a_mask.png"), labels())
    (tmp_path / "classes.json").write_text(json.dumps({"names": CLASSES}))
    assert len(dataset_from_name(f"folder:{tmp_path}#images=*.png,labels=*_mask.png").items) == 1


@pytest.mark.parametrize(
    ("patterns", "facts"),
    [
        ("images=cmp_*.jpg", ["labels"]),
        ("labels=cmp_*.png", ["images"]),
        ("images=cmp.jpg,labels=cmp_*.png", ["cmp.jpg"]),
        ("images=*/*.jpg,labels=*.png", ["*/*.jpg"]),
        ("images=../*.jpg,labels=*.png", ["../*.jpg"]),
        ("images=/etc/*,labels=*.png", ["/etc/*"]),
        ("images=none_*.jpg,labels=*.png", ["none_*.jpg"]),
        ("images=cmp_*.jpg,labels=seg_*.png", ["cmp_b0001.jpg", "seg_b0001.png"]),
        ("images=*.png,labels=*.png", ["*.png"]),
    ],
)
def test_patterns_that_do_not_fit_are_refused(tmp_path, patterns, facts):
    facades(tmp_path)
    with refused(BadInput, *facts):
        dataset_from_name(f"colours:{tmp_path}#{patterns}")
