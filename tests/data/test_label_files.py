"""Label files of every depth, colour type, orientation and set of values, compared with Pillow."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from fcn_edge.data.base import PairOnDisk, labels_from_file
from fcn_edge.data.labels import samples_from_file
from fcn_edge.data.pictures import upright
from fcn_edge.errors import BadInput
from tests.labelfiles import CHANNELS, GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, png_from_samples
from tests.refusals import refused

Image = pytest.importorskip("PIL.Image", reason="pillow is not installed: nothing to compare label files with")
ImageOps = pytest.importorskip("PIL.ImageOps")

SIZE = (5, 11)  # not a whole number of bytes a row at any depth below 8
KINDS = [(bits, GREY) for bits in (1, 2, 4, 8, 16)] + [(bits, PALETTE) for bits in (1, 2, 4, 8)]
NAMES = [f"{'grey' if colour_type == GREY else 'palette'}{bits}" for bits, colour_type in KINDS]
ORIENTATIONS = [None, 1, 2, 3, 4, 5, 6, 7, 8]
kinds = pytest.mark.parametrize(("bits", "colour_type"), KINDS, ids=NAMES)


def drawn(bits, largest=255):
    """Random samples of a depth, its smallest and largest value among them."""
    most = min(largest, 2**bits - 1)
    values = np.random.default_rng(bits).integers(0, most + 1, SIZE)
    values[0, :2] = 0, most
    return values


def pillow_reads(data, bits, colour_type):
    """The upright samples by Pillow, which scales grey of few bits to 0..255."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.array(ImageOps.exif_transpose(image)).astype(int)
    if colour_type == PALETTE or bits in (1, 8, 16):
        return pixels
    return pixels // (255 // (2**bits - 1))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@kinds
def test_values_are_the_stored_samples_turned_by_their_own_tag(tmp_path, bits, colour_type, orientation):
    data = png_from_samples(drawn(bits), bits, colour_type, orientation)
    (tmp_path / "a.png").write_bytes(data)
    samples = samples_from_file(tmp_path / "a.png")
    np.testing.assert_array_equal(samples.values, drawn(bits))
    labels = labels_from_file(tmp_path / "a.png")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, pillow_reads(data, bits, colour_type))
    np.testing.assert_array_equal(labels, upright(drawn(bits), orientation))


@pytest.mark.parametrize(("order", "tag_last"), [(">", False), ("<", True)], ids=["big endian", "behind the pixels"])
def test_tag_is_found_wherever_it_may_stand(tmp_path, order, tag_last):
    data = png_from_samples(drawn(4), 4, GREY, 6, order=order, tag_last=tag_last)
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(labels_from_file(tmp_path / "a.png"), pillow_reads(data, 4, GREY))


def item_of(tmp_path, data, num_classes, ignore=255, label_values=()):
    (tmp_path / "label.png").write_bytes(data)
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((*SIZE, 3), np.uint8))
    return PairOnDisk("a", "drive", tmp_path / "picture.png", tmp_path / "label.png", num_classes, ignore, label_values)


@kinds
def test_every_value_of_a_depth_can_be_a_class(tmp_path, bits, colour_type):
    values = drawn(bits, largest=254)
    item = item_of(tmp_path, png_from_samples(values, bits, colour_type), 255)
    np.testing.assert_array_equal(item.labels(), values)


@kinds
def test_ignored_value_of_any_depth_is_beyond_the_classes(tmp_path, bits, colour_type):
    values, largest = drawn(bits), int(drawn(bits).max())
    item = item_of(tmp_path, png_from_samples(values, bits, colour_type), largest, ignore=largest)
    np.testing.assert_array_equal(item.labels(), values)


@kinds
def test_values_are_mapped_to_classes_where_asked(tmp_path, bits, colour_type):
    most = 2**bits - 1
    values = np.where(drawn(bits) % 2, most, 0)
    item = item_of(tmp_path, png_from_samples(values, bits, colour_type), 2, label_values=(most, 0))
    np.testing.assert_array_equal(item.labels(), values == 0)


@kinds
def test_value_that_is_no_class_is_named(tmp_path, bits, colour_type):
    values = np.zeros(SIZE, int)
    values[3, 4] = 2**bits - 1 if bits != 8 else 254
    item = item_of(tmp_path, png_from_samples(values, bits, colour_type), 1)
    with refused(BadInput, "label.png", values[3, 4], "0..0", 255):
        item.labels()


def test_ignored_value_of_16_bits_becomes_255(tmp_path):
    values = np.full(SIZE, 65535)
    values[0] = 1
    item = item_of(tmp_path, png_from_samples(values, 16), 2, ignore=65535)
    np.testing.assert_array_equal(item.labels(), np.where(values == 1, 1, 255))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour_type", [RGB, GREY_ALPHA, RGB_ALPHA])
def test_labels_of_several_channels_are_refused(tmp_path, bits, colour_type):
    samples = np.zeros((*SIZE, CHANNELS[colour_type]), int)
    (tmp_path / "a.png").write_bytes(png_from_samples(samples, bits, colour_type))
    with refused(BadInput, "a.png", "PNG", "channel"):
        labels_from_file(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP", "BMP"])
def test_labels_that_are_no_png_are_refused_whatever_their_name(tmp_path, kind):
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "a.png", kind)
    with refused(BadInput, "a.png", "PNG"):
        labels_from_file(tmp_path / "a.png")


@kinds
def test_labels_that_are_cut_off_are_named(tmp_path, bits, colour_type):
    (tmp_path / "a.png").write_bytes(png_from_samples(drawn(bits), bits, colour_type)[:-20])
    with refused(BadInput, "a.png", "cut off"):
        labels_from_file(tmp_path / "a.png")


@pytest.mark.parametrize("colour_type", [GREY, PALETTE])
def test_labels_that_announce_gigabytes_are_refused_from_their_header(tmp_path, colour_type):
    data = bytearray(png_from_samples(drawn(8), 8, colour_type))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    (tmp_path / "a.png").write_bytes(data)
    with refused(BadInput, "a.png", "60000x60000", 16384):
        labels_from_file(tmp_path / "a.png")
