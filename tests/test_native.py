"""The compiled kernels give the bits of the numpy references, and refuse what does not fit."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import mmap
import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_edge.frame import Style
from fcn_edge.geometry import Axis, Sampling, frame_sampling, pad100, stretch, stride
from fcn_edge.metrics import confusion_from_maps, reference_confusion
from fcn_edge.transforms import fixed_taps, ink_table, reference_class_map, reference_overlay, taps

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("fcn_edge._native") is None,
    reason="fcn_edge._native is not built: no C++ compiler was found when the package was installed",
)

LANES = 16  # of class_map.hpp: runs shorter, equal and longer than one block must all be drawn


@functools.cache
def workspace(threads=2):
    return importlib.import_module("fcn_edge._native").Workspace(threads)


def native_class_map(scores, y, x, out):
    counts = np.full(256, -1, np.int64)
    workspace().view(scores, *y, *x, out, counts)
    np.testing.assert_array_equal(counts, np.bincount(out.ravel(), minlength=256))
    return out


def assert_equal_bits(scores, y_axis, x_axis):
    y, x = taps(y_axis, scores.shape[1]), taps(x_axis, scores.shape[2])
    size = (y_axis.valid, x_axis.valid)
    with np.errstate(all="ignore"):
        wanted = reference_class_map(scores, y, x, np.empty(size, np.uint8))
    np.testing.assert_array_equal(native_class_map(scores, y, x, np.full(size, 255, np.uint8)), wanted)


def axes():
    """Stretches and any other Axis: crops, paddings, mirrored, one pixel, no pixel."""
    pixels = st.integers(0, 3 * LANES + 5)
    free = st.builds(Axis, st.floats(-3, 3), st.floats(-20, 20), pixels)
    return st.one_of(free, st.builds(stretch, pixels.filter(bool), st.integers(1, 20)))


def draw_scores(seed, shape, kind):
    random = np.random.default_rng(seed)
    scores = random.standard_normal(shape, np.float32)
    if kind == "ties":
        return scores.round()
    if kind == "not finite":
        scores[random.random(shape) < 0.1] = np.nan
        scores[random.random(shape) < 0.1] = np.inf
        scores[random.random(shape) < 0.1] = -np.inf
    if kind == "tiny":  # below the smallest normal number
        scores *= np.float32(1e-42)
    if kind == "huge":
        scores = scores.clip(-3, 3) * np.float32(1e38)
    if kind == "near ties":  # classes a few units in the last place apart: rounding decides, and not as the ends say
        apart = np.spacing(scores[:1]) * random.integers(0, 3, shape)
        scores = (scores[:1] + apart).astype(np.float32)
    if kind == "areas":  # of one class each, as in a picture, where nothing has to be interpolated
        scores = scores.cumsum(1).cumsum(2)
    return np.ascontiguousarray(scores, np.float32)


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.sampled_from([1, 2, 3, 11, 21, 150, 255, 256]), st.integers(1, 20), st.integers(1, 20)),
    kind=st.sampled_from(["normal", "ties", "near ties", "areas", "tiny", "not finite", "huge"]),
    y=axes(),
    x=axes(),
)
def test_class_map_has_the_bits_of_the_reference(seed, shape, kind, y, x):
    assert_equal_bits(draw_scores(seed, shape, kind), y, x)


@pytest.mark.parametrize("pixels", [1, LANES - 1, LANES, LANES + 1, 2 * LANES, 7 * LANES + 3])
def test_runs_of_any_length_are_drawn(pixels):
    assert_equal_bits(draw_scores(1, (5, 3, 4), "normal"), stretch(pixels, 3), stretch(4 * pixels, 4))


def test_network_size_map_on_a_720p_frame():
    assert_equal_bits(draw_scores(1, (11, 48, 60), "normal"), stretch(720, 48), stretch(1280, 60))


def test_one_cell_fills_the_map():
    assert_equal_bits(draw_scores(1, (3, 1, 1), "normal"), stretch(9, 1), stretch(33, 1))


def test_ties_go_to_the_lower_class():
    one = np.zeros((4, 2, 2), np.float32)
    y = x = taps(stretch(5, 2), 2)
    assert native_class_map(one, y, x, np.full((5, 5), 9, np.uint8)).max() == 0


def test_first_nan_wins_as_in_numpy():
    scores = np.array([3, np.nan, 5, np.nan], np.float32).reshape(4, 1, 1)
    y = x = taps(stretch(1, 1), 1)
    assert native_class_map(scores, y, x, np.zeros((1, 1), np.uint8))[0, 0] == 1


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    classes=st.integers(1, 256),
    opacity=st.floats(0, 1),
    hidden=st.lists(st.integers(0, 255), max_size=3),
    area=st.integers(1, 40),
)
def test_overlay_has_the_bits_of_the_reference(seed, size, classes, opacity, hidden, area):
    random = np.random.default_rng(seed)
    class_map = np.ascontiguousarray(random.integers(0, classes, size, np.uint8).repeat(area, 1)[:, : size[1]])
    image = random.integers(0, 256, (*size, 3), np.uint8)
    palette = tuple(map(tuple, random.integers(0, 256, (min(classes, 255), 3)).tolist()))
    table = ink_table(palette, Style(opacity, hidden_classes=tuple(hidden)))
    counts, overlay = np.full(256, -1, np.int64), np.full_like(image, 77)
    workspace().draw(class_map, counts, image, table, overlay)
    np.testing.assert_array_equal(overlay, reference_overlay(class_map, image, table, np.empty_like(image)))
    np.testing.assert_array_equal(counts, np.bincount(class_map.ravel(), minlength=256))


def test_one_pass_is_class_map_and_then_overlay():
    random = np.random.default_rng(2)
    image = random.integers(0, 256, (97, 131, 3), np.uint8)
    y, x = taps(stretch(97, 12), 12), taps(stretch(131, 17), 17)
    class_map, counts, overlay = np.empty((97, 131), np.uint8), np.empty(256, np.int64), np.empty_like(image)
    table = ink_table(((1, 2, 3),) * 21, Style(0.3))
    workspace().view(draw_scores(3, (21, 12, 17), "areas"), *y, *x, class_map, counts, image, table, overlay)
    wanted = reference_class_map(draw_scores(3, (21, 12, 17), "areas"), y, x, np.empty((97, 131), np.uint8))
    np.testing.assert_array_equal(class_map, wanted)
    np.testing.assert_array_equal(overlay, reference_overlay(wanted, image, table, np.empty_like(image)))


GEOMETRIES = {
    "stretch": lambda frame: frame_sampling(frame, (352, 480), "stretch"),
    "letterbox": lambda frame: frame_sampling(frame, (352, 480), "letterbox"),
}
HEADS = {
    "stride 4": (stride, 4, 88, 120),
    "stride 8": (stride, 8, 44, 60),
    "pad 100, stride 8": (pad100, 8, 52, 68),
    "pad 100, stride 32": (pad100, 32, 16, 20),
}


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_geometry_of_this_project_is_drawn_exactly(geometry, head, number):
    """Frames of odd sizes, larger and smaller than the network, in areas as real scores have them."""
    random = np.random.default_rng([number, len(geometry), len(head)])
    axis, step, rows, columns = HEADS[head]
    frame = tuple(int(n) for n in random.integers(40, 700, 2))
    sampling = GEOMETRIES[geometry](frame).then(Sampling(axis(352, step), axis(480, step)))
    coarse = random.standard_normal((int(random.integers(2, 22)), rows // 4 + 1, columns // 4 + 1), np.float32)
    scores = np.stack([cv2.resize(one, (columns, rows), interpolation=cv2.INTER_CUBIC) for one in coarse])
    assert_equal_bits(scores, sampling.y, sampling.x)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_draws_the_same(threads):
    scores, y, x = draw_scores(4, (11, 20, 20), "areas"), taps(stretch(333, 20), 20), taps(stretch(77, 20), 20)
    found, counts = np.full((333, 77), 255, np.uint8), np.empty(256, np.int64)
    assert workspace(threads).threads == threads
    workspace(threads).view(scores, *y, *x, found, counts)
    np.testing.assert_array_equal(found, reference_class_map(scores, y, x, np.empty((333, 77), np.uint8)))
    assert counts.sum() == 333 * 77


def test_one_workspace_serves_callers_in_turn():
    scores, y, x = draw_scores(5, (9, 15, 15), "areas"), taps(stretch(200, 15), 15), taps(stretch(210, 15), 15)
    wanted = reference_class_map(scores, y, x, np.empty((200, 210), np.uint8))

    def drawn(_):
        return native_class_map(scores, y, x, np.empty((200, 210), np.uint8))

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(drawn, range(40)):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_child_draws_without_the_threads_it_has_not():
    scores, y, x = draw_scores(6, (9, 15, 15), "areas"), taps(stretch(200, 15), 15), taps(stretch(210, 15), 15)
    wanted = native_class_map(scores, y, x, np.empty((200, 210), np.uint8))
    child = os.fork()
    if child == 0:
        os._exit(not np.array_equal(native_class_map(scores, y, x, np.empty((200, 210), np.uint8)), wanted))
    assert os.waitpid(child, 0)[1] == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 255), st.integers(1, 30))
def test_confusion_is_that_of_the_reference(seed, classes, area):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 256, (23, 3), np.uint8).repeat(area, 1)
    predicted = random.integers(0, classes, (23, 3), np.uint8).repeat(area, 1)
    wanted = reference_confusion(labels, predicted, classes)
    np.testing.assert_array_equal(confusion_from_maps(labels, predicted, classes), wanted)
    np.testing.assert_array_equal(confusion_from_maps(labels[:, ::-1], predicted[:, ::-1], classes), wanted)


def arguments(**changed):
    """Arguments of `view` for a (3, 4, 5) map on a (6, 7) frame, some of them changed."""
    y, x = taps(stretch(6, 4), 4), taps(stretch(7, 5), 5)
    given = {
        "scores": np.zeros((3, 4, 5), np.float32),
        **{"y_low": y[0], "y_weight": y[1], "x_low": x[0], "x_weight": x[1]},
        "class_map": np.zeros((6, 7), np.uint8),
        "counts": np.zeros(256, np.int64),
        "image": np.zeros((6, 7, 3), np.uint8),
        "table": np.zeros((256, 4), np.uint16),
        "overlay": np.zeros((6, 7, 3), np.uint8),
    }
    return given | changed


IMAGE = np.zeros((6, 7, 3), np.uint8)


@pytest.mark.parametrize(
    "changed",
    [
        {"scores": np.zeros((0, 4, 5), np.float32)},
        {"scores": np.zeros((257, 4, 5), np.float32)},
        {"scores": np.zeros((3, 3, 5), np.float32)},
        {"scores": np.zeros((3, 4, 0), np.float32)},
        {"class_map": np.zeros((7, 7), np.uint8)},
        {"class_map": np.zeros((6, 6), np.uint8)},
        {"y_weight": np.zeros(5, np.float32)},
        {"x_low": np.zeros(8, np.int32)},
        {"x_low": np.full(7, -1, np.int32)},
        {"y_low": np.full(6, 4, np.int32)},
        {"counts": np.zeros(255, np.int64)},
        {"table": np.zeros((255, 4), np.uint16)},
        {"image": np.zeros((6, 6, 3), np.uint8)},
        {"overlay": np.zeros((6, 7, 4), np.uint8)},
        {"overlay": None},
        {"image": IMAGE, "overlay": IMAGE},
    ],
    ids=lambda changed: " ".join(f"{name}{getattr(value, 'shape', value)}" for name, value in changed.items()),
)
def test_shapes_and_cells_that_do_not_fit_are_refused(changed):
    workspace().view(**arguments())
    with pytest.raises(ValueError):
        workspace().view(**arguments(**changed))


@pytest.mark.parametrize("threads", [-1, 0, 257])
def test_impossible_number_of_threads_is_refused(threads):
    with pytest.raises(ValueError, match="1 to 256"):
        importlib.import_module("fcn_edge._native").Workspace(threads)


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "changed",
    [
        {"scores": np.zeros((3, 4, 5), np.float64)},
        {"scores": np.zeros((3, 5, 4), np.float32).transpose(0, 2, 1)},
        {"class_map": read_only(np.zeros((6, 7), np.uint8))},
        {"class_map": np.zeros((6, 14), np.uint8)[:, ::2]},
        {"image": np.zeros((6, 14, 3), np.uint8)[:, ::2]},
    ],
    ids=["float64", "transposed", "read-only", "strided", "strided image"],
)
def test_other_types_and_layouts_are_refused_and_never_copied(changed):
    with pytest.raises(TypeError):
        workspace().view(**arguments(**changed))


def resized(image, height, width, threads=2):
    out = np.full((height, width, 3), 7, np.uint8)
    y, x = fixed_taps(image.shape[0], height), fixed_taps(image.shape[1], width)
    workspace(threads).resize(image, *y, *x, out, 0, 0, np.zeros(3, np.uint8))
    return out


SIDES = st.one_of(st.integers(1, 8), st.integers(1, 130))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3]))
def test_a_resized_frame_has_the_bits_of_opencv(frame, size, seed, threads):
    image = np.random.default_rng(seed).integers(0, 256, (*frame, 3), np.uint8)
    np.testing.assert_array_equal(resized(image, *size, threads), cv2.resize(image, size[::-1]))


@pytest.mark.parametrize("frame", [(720, 960), (1080, 1920), (97, 1281), (1, 4000), (3000, 1), (90, 120)])
def test_a_frame_has_the_bits_of_opencv_at_sizes_that_are_used(frame):
    image = np.random.default_rng(1).integers(0, 256, (*frame, 3), np.uint8)
    np.testing.assert_array_equal(resized(image, 360, 480), cv2.resize(image, (480, 360)))


def test_a_part_of_a_frame_is_resized_where_it_lies():
    image = np.random.default_rng(2).integers(0, 256, (90, 121, 3), np.uint8)
    part = image[11:83, 5:118]
    np.testing.assert_array_equal(resized(part, 40, 60), cv2.resize(part.copy(), (60, 40)))


def test_resizing_reads_nothing_behind_the_last_pixel():
    """The frame's last byte is the last of a page; the next page may not be read."""
    page = mmap.PAGESIZE
    held = mmap.mmap(-1, 2 * page)
    place = np.frombuffer(held, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(place.ctypes.data + page), page, 0) == 0  # PROT_NONE
    image = place[page - 3 * 7 * 5 : page].reshape(7, 5, 3)
    for size in ((7, 5), (20, 31), (3, 2)):
        np.testing.assert_array_equal(resized(image, *size), np.zeros((*size, 3), np.uint8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": np.zeros((4, 4, 4), np.uint8)}, r"\(H, W, 3\)"),
        ({"y_low": np.full(6, 4, np.int32)}, r"y_low\[0\] is 4"),
        ({"x_low": np.arange(5, -1, -1, np.int32).clip(0, 3)}, "must not fall"),
        ({"x_weights": np.full((6, 2), 3000, np.int32)}, "3000 is not 0 to 2048"),
        ({"y_weights": np.zeros((6, 3), np.int32)}, r"not \(6, 2\)"),
        ({"top": 1}, "room"),
        ({"left": -1}, "room"),
        ({"border": np.zeros(4, np.uint8)}, "border"),
    ],
)
def test_what_cannot_be_resized_is_refused(change, words):
    taps_of_six = dict(zip(("low", "weights"), fixed_taps(4, 6)))
    given = {
        "image": np.zeros((4, 4, 3), np.uint8),
        **{f"{axis}_{name}": value for axis in "yx" for name, value in taps_of_six.items()},
        "out": np.zeros((6, 6, 3), np.uint8),
        "top": 0,
        "left": 0,
        "border": np.zeros(3, np.uint8),
    }
    with pytest.raises(ValueError, match=words):
        workspace().resize(**{**given, **change})
