"""Pictures are read as viewers show them, and labels lie on the same pixels."""

from __future__ import annotations

import io
from contextlib import suppress

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_edge.data.base import PairOnDisk, image_from_file
from fcn_edge.data.headers import header_from_bytes
from fcn_edge.data.pictures import TURNED, picture_from_bytes, upright
from fcn_edge.errors import BadInput
from tests.labelfiles import GREY, RGB, png_from_samples
from tests.refusals import refused

Image = pytest.importorskip("PIL.Image", reason="pillow is not installed: no pictures to write and compare with")
ImageOps = pytest.importorskip("PIL.ImageOps")

FORMATS = {
    "jpg": ("JPEG", {"quality": 95}),
    "png": ("PNG", {}),
    "tif": ("TIFF", {}),
    "webp": ("WEBP", {"lossless": True}),
}
SIZE = (16, 24)


def scene(size=SIZE):
    small = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    return cv2.resize(small, size[::-1])


def written(path, orientation, kind, options, pixels=None):
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(scene() if pixels is None else pixels).save(path, kind, exif=exif, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", FORMATS)
def test_picture_is_turned_upright_by_its_tag(tmp_path, suffix, orientation):
    path = written(tmp_path / f"a.{suffix}", orientation, *FORMATS[suffix])
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image))
    assert expected.shape[:2] == (SIZE if orientation < 5 else SIZE[::-1])
    difference = image_from_file(path)[:, :, ::-1].astype(int) - expected
    assert np.abs(difference).max() <= (2 if suffix == "jpg" else 0), "two JPEG decoders may round otherwise"
    assert (TURNED in picture_from_bytes(path.read_bytes())[1]) == (orientation != 1)


@pytest.mark.parametrize("tag", [0, 9, 65535])
def test_tag_that_is_no_orientation_turns_nothing(tag):
    image, what = picture_from_bytes(png_from_samples(scene(), 8, RGB, tag))
    np.testing.assert_array_equal(image[:, :, ::-1], scene())
    assert what == ""


CHANGES = st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)))  # offset, new byte


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(FORMATS)), st.integers(0, 400), st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)))
)
def test_damaged_file_is_refused_or_read_and_never_a_traceback(suffix, length, changes):
    kind, options = FORMATS[suffix]
    exif = Image.Exif()
    exif[274] = 6
    data = bytearray(encoded(Image.fromarray(scene()), kind, exif=exif, **options))
    for at, value in changes:
        data[at % len(data)] = value
    for cut in (data, data[:length]):
        header_from_bytes(bytes(cut))
        with suppress(BadInput):
            picture_from_bytes(bytes(cut))


STORED = np.arange(24, dtype=np.uint8).reshape(4, 6) % 7


def pair_of(tmp_path, picture_tag, labels, label_tag=None, size=(4, 6)):
    (tmp_path / "p.png").write_bytes(png_from_samples(scene(size), 8, RGB, picture_tag))
    (tmp_path / "l.png").write_bytes(png_from_samples(labels, 8, GREY, label_tag))
    return PairOnDisk("a", "drive", tmp_path / "p.png", tmp_path / "l.png", 7, 255)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize(
    "drawn_on", ["stored pixels", "upright picture", "stored pixels, with the tag", "upright, tag 1"]
)
def test_labels_lie_on_the_upright_picture(tmp_path, orientation, drawn_on):
    expected = upright(STORED, orientation)
    tag = {"stored pixels, with the tag": orientation, "upright, tag 1": 1}.get(drawn_on)
    item = pair_of(tmp_path, orientation, STORED if "stored" in drawn_on else expected, tag)
    assert item.image().shape[:2] == expected.shape
    np.testing.assert_array_equal(item.labels(), expected)
    assert len(item.notes.lines) == (2 if "stored" in drawn_on else 1)


@pytest.mark.parametrize(("orientation", "size"), [(2, (4, 6)), (3, (4, 6)), (4, (4, 6)), (6, (6, 6)), (5, (6, 6))])
def test_labels_that_fit_both_ways_are_refused(tmp_path, orientation, size):
    labels = np.zeros(size, np.uint8)
    with refused(BadInput, "l.png", "p.png", f"orientation {orientation}", f"{size[1]}x{size[0]}"):
        pair_of(tmp_path, orientation, labels, size=size).labels()
    for tag in (1, orientation):
        assert pair_of(tmp_path, orientation, labels, tag, size).labels().shape == size


@pytest.mark.parametrize(("picture_tag", "label_tag"), [(None, 6), (6, 3), (None, None)])
def test_labels_of_another_size_once_both_are_upright_are_named(tmp_path, picture_tag, label_tag):
    labels = STORED if picture_tag or label_tag else STORED.T
    with refused(BadInput, "l.png", "4x6", "6x4"):
        pair_of(tmp_path, picture_tag, labels, label_tag).labels()


def deep(largest):
    pixels = np.zeros((4, 6, 3), int)
    pixels[1, 2] = largest
    return png_from_samples(pixels, 16, RGB)


@pytest.mark.parametrize("largest", [1, 255, 1023, 4095])
def test_12_bits_in_16_are_refused_with_their_largest_value(largest):
    with refused(BadInput, "16 bits", largest, "0..65535"):
        picture_from_bytes(deep(largest))


@pytest.mark.parametrize(
    ("largest", "level", "told"),
    [(65535, 255, "16 bits reduced to 8"), (0, 0, "16 bits reduced to 8"), (16383, 64, "above a quarter of white")],
)
def test_16_bits_become_8_with_a_note(largest, level, told):
    image, what = picture_from_bytes(deep(largest))
    assert image.max() == level and told in what


def encoded(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_left_out_and_not_composited(kind):
    image = Image.fromarray(scene()).convert("RGBA")
    opaque = encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    image.putalpha(7)
    seen = encoded(image, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    for data, told in ((opaque, ""), (seen, "alpha left out")):
        found, what = picture_from_bytes(data)
        np.testing.assert_array_equal(found[:, :, ::-1], scene())
        assert what == told


def test_tiff_with_alpha_is_refused_since_its_colours_are_multiplied_by_it():
    image = Image.fromarray(scene()).convert("RGBA")
    np.testing.assert_array_equal(picture_from_bytes(encoded(image, "TIFF"))[0][:, :, ::-1], scene())
    image.putalpha(7)
    with refused(BadInput, "alpha"):
        picture_from_bytes(encoded(image, "TIFF"))


MODES = [(mode, kind) for mode in ("L", "P", "1") for kind in ("PNG", "TIFF", "BMP")] + [("CMYK", "TIFF")]


@pytest.mark.parametrize(("mode", "kind"), MODES)
def test_pictures_of_other_modes_have_the_colours_that_are_seen(mode, kind):
    image = Image.fromarray(scene()).convert(mode)
    found, _ = picture_from_bytes(encoded(image, kind))
    np.testing.assert_array_equal(found[:, :, ::-1], np.array(image.convert("RGB")))


@pytest.mark.parametrize(("maxval", "is_read"), [(255, True), (65535, True), (4095, False), (100, False)])
def test_netpbm_is_read_where_white_is_white(maxval, is_read):
    pixels = np.full((4, 6, 3), maxval, ">u2" if maxval > 255 else np.uint8)
    data = f"P6\n# a comment\n6 4\n{maxval}\n".encode() + pixels.tobytes()
    if is_read:
        assert (picture_from_bytes(data)[0] == 255).all()
    else:
        with refused(BadInput, maxval, 255, 65535):
            picture_from_bytes(data)
