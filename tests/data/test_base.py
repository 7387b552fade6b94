"""Pairs on disk: images and labels are read as they are, or the file that does not fit is named."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from fcn_edge.data.base import (
    Notes,
    PairOnDisk,
    image_from_file,
    images_in,
    labels_from_file,
    paired,
    sha256_of_pixels,
)
from fcn_edge.errors import BadInput
from tests.refusals import assert_names, refused


def pair_of(image, label, classes=3, ignore=255):
    return PairOnDisk(image.stem, "drive", image, label, classes, ignore)


def test_item_reads_image_labels_and_hash(tmp_path, write_pair):
    labels = np.array([[0, 1, 2, 255, 0, 1]] * 4, np.uint8)
    image, label = write_pair(tmp_path, "a", labels)
    item = pair_of(image, label)
    assert item.image().shape == (4, 6, 3) and item.image()[0, 0].tolist() == [10, 20, 30]
    np.testing.assert_array_equal(item.labels(), labels)
    assert item.sha256() == hashlib.sha256(image.read_bytes()).hexdigest()


def test_value_outside_the_classes_is_named_with_its_file(tmp_path, write_pair):
    labels = np.zeros((4, 6), np.uint8)
    labels[2, 3] = 7
    item = pair_of(*write_pair(tmp_path, "a", labels))
    with refused(BadInput, "labels/a.png", 7, "0..2", 255):
        item.labels()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_labels_of_another_size_are_named(tmp_path, write_pair, suffix):
    item = pair_of(*write_pair(tmp_path, "a", np.zeros((6, 4), np.uint8), suffix=suffix))
    with refused(BadInput, "labels/a.png", "4x6", "6x4"):
        item.labels()


def test_palette_images_are_read_as_indices(tmp_path):
    Image = pytest.importorskip("PIL.Image", reason="pillow is not installed: no palette image to read")
    indices = np.array([[0, 5, 20], [255, 1, 2]], np.uint8)
    picture = Image.fromarray(indices, "P")
    picture.putpalette([value for index in range(256) for value in (index, 255 - index, 77)])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(labels_from_file(tmp_path / "a.png"), indices)


def test_palette_image_of_few_colours_is_read_as_indices(tmp_path):
    """Pillow packs four pixels into a byte here."""
    Image = pytest.importorskip("PIL.Image", reason="pillow is not installed: no palette image to read")
    indices = np.array([[0, 1, 2, 3, 3]] * 3, np.uint8)
    picture = Image.fromarray(indices, "P")
    picture.putpalette([255, 0, 0] * 4)
    picture.save(tmp_path / "a.png", bits=2)
    np.testing.assert_array_equal(labels_from_file(tmp_path / "a.png"), indices)


@pytest.mark.parametrize(
    ("content", "fact"),
    [(b"", "empty"), (b"GIF89a no picture", "image"), (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "cut off")],
)
def test_file_that_does_not_decode_is_named(tmp_path, content, fact):
    (tmp_path / "a.png").write_bytes(content)
    with refused(BadInput, "a.png", fact):
        image_from_file(tmp_path / "a.png")


def test_truncated_image_is_named(tmp_path, write_pair):
    image, _ = write_pair(tmp_path, "a")
    image.write_bytes(image.read_bytes()[:40])
    with refused(BadInput, "a.png", "cut off"):
        image_from_file(image)


def test_missing_file_is_named(tmp_path):
    with refused(BadInput, "none.png"):
        image_from_file(tmp_path / "none.png")


def test_images_of_a_folder_are_sorted_and_nothing_else(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.tiff", "notes.txt", "a.json"):
        (tmp_path / name).touch()
    assert [path.name for path in images_in(tmp_path)] == ["a.jpg", "b.PNG", "c.tiff"]


def test_image_without_labels_is_named(tmp_path, write_pair):
    write_pair(tmp_path, "a")
    _, label = write_pair(tmp_path, "b")
    label.unlink()
    with refused(BadInput, "images/b.png", "labels/b.png"):
        paired(tmp_path / "images", tmp_path / "labels")


def test_labels_of_another_format_are_named_where_png_is_missing(tmp_path, write_pair):
    _, label = write_pair(tmp_path, "a")
    label.rename(label.with_suffix(".tif"))
    with refused(BadInput, "images/a.png", "labels/a.png", "a.tif"):
        paired(tmp_path / "images", tmp_path / "labels")


def test_two_pictures_of_one_stem_are_refused_by_name(tmp_path, write_pair):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "a", suffix=".jpg")
    with refused(BadInput, "a.jpg", "a.png", "images"):
        paired(tmp_path / "images", tmp_path / "labels")


def test_hidden_files_are_passed_over_with_a_note(tmp_path, write_pair):
    write_pair(tmp_path, "a")
    for name in ("._a.png", "._b.jpg", ".DS_Store"):
        (tmp_path / "images" / name).write_bytes(b"\0\5\x16\7")
    notes = Notes()
    assert [path.name for path, _ in paired(tmp_path / "images", tmp_path / "labels", notes)] == ["a.png"]
    (note,) = notes.lines
    assert_names(note, "._a.png and 1 more", "hidden")


def test_labels_without_image_do_no_harm(tmp_path, write_pair):
    write_pair(tmp_path, "a")
    image, _ = write_pair(tmp_path, "b")
    image.unlink()
    assert [path.stem for path, _ in paired(tmp_path / "images", tmp_path / "labels")] == ["a"]


def test_empty_and_missing_folders_are_named(tmp_path):
    with refused(BadInput, "images", "labels"):
        paired(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    with refused(BadInput, "images"):
        paired(tmp_path / "images", tmp_path / "labels")


def test_hash_of_pixels_knows_the_shape():
    assert sha256_of_pixels(np.zeros((2, 6, 3), np.uint8)) != sha256_of_pixels(np.zeros((3, 4, 3), np.uint8))


def test_every_image_without_labels_is_named_up_to_five(tmp_path, write_pair):
    labels = [write_pair(tmp_path, name)[1] for name in "abcdefgh"]
    for path in labels[1:]:
        path.unlink()
    with refused(BadInput, "b.png", "c.png", "d.png", "e.png", "f.png", "2 more"):
        paired(tmp_path / "images", tmp_path / "labels")
