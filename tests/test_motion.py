"""Motion between frames, and scores that go along with it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fcn_edge.motion import Grid, Motion, Track, chained, is_cut, move, pixels_moved, thumbnail

SIZE = (120, 180)
SHIFT = (9.0, 6.0)  # pixels right and down
CLOSE = 0.2  # of a thumbnail's pixel, half a pixel of the picture: dense inverse search settles no finer


def scene(shift: tuple[float, float] = (0, 0), seed: int = 1) -> np.ndarray:
    """(120, 180, 3) uint8: soft blobs, all moved right and down."""
    noise = np.random.default_rng(seed).integers(0, 255, (40, 50), np.uint8)
    blobs = cv2.GaussianBlur(cv2.resize(noise, (300, 240), interpolation=cv2.INTER_CUBIC), (0, 0), 3)
    x, y = (60 - by for by in shift)
    window = cv2.warpAffine(blobs, np.float64([[1, 0, -x], [0, 1, -y]]), SIZE[::-1])
    return np.dstack([window] * 3)


def field_of(newer: np.ndarray, older: np.ndarray) -> np.ndarray:
    return Motion().field(thumbnail(newer), thumbnail(older))


def moved(scores: np.ndarray, field: np.ndarray) -> np.ndarray:
    """On a grid of 4 pixels a cell."""
    out = np.full_like(scores, np.nan)
    move(scores, field, Grid(4.0, 1.5, 1.5), SIZE, out)
    return out


def middle(array: np.ndarray) -> np.ndarray:
    """Without the border, where things come into view that were not there."""
    return array[8:-8, 8:-8]


def test_thumbnail_is_a_third_of_the_input_and_never_too_small_to_look_in():
    assert thumbnail(scene()).shape == (40, 60)
    small = thumbnail(np.zeros((32, 32, 3), np.uint8))
    assert small.shape == (16, 16) and Motion().field(small, small).shape == (16, 16, 2)


def test_field_leads_back_to_where_things_were():
    found = middle(field_of(scene(SHIFT), scene()))
    np.testing.assert_allclose(found.mean((0, 1)), (-SHIFT[0] / 3, -SHIFT[1] / 3), atol=CLOSE)


def test_fields_chain_to_older_frames():
    one, two, three = (scene((9 * n, 0)) for n in range(3))
    found = middle(chained(field_of(three, two), field_of(two, one)))
    np.testing.assert_allclose(found.mean((0, 1)), (-6, 0), atol=2 * CLOSE)


def test_track_leads_back_to_any_of_its_frames():
    frames = [scene((6 * n, 0)) for n in range(4)]
    track = Track()
    for index in (1, 2, 3):
        track.add(index, field_of(frames[index], frames[index - 1]))
        for older in range(index):  # asked for at once, or later
            if (index, older) != (2, 0):
                found = middle(track.back_to(older)).mean((0, 1))
                np.testing.assert_allclose(found, (-2 * (index - older), 0), atol=CLOSE * (index - older))
    track.forget_before(2)
    np.testing.assert_allclose(middle(track.back_to(2)).mean((0, 1)), (-2, 0), atol=CLOSE)
    with pytest.raises(ValueError, match="after frame 3"):
        track.back_to(3)


def test_pixels_are_those_of_the_input():
    field = np.full((40, 60, 2), (3.0, 4.0), np.float32)
    assert pixels_moved(field, 180) == pytest.approx(15)


def test_motion_explains_a_drive_and_not_a_cut():
    here, there, elsewhere = thumbnail(scene()), thumbnail(scene(SHIFT)), thumbnail(scene(seed=2))
    search = Motion()
    for newer, cut in ((here, False), (there, False), (elsewhere, True)):
        assert is_cut(newer, here, search.field(newer, here)) is cut


@pytest.mark.parametrize("classes", [1, 3, 150])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_scores_move_with_the_picture(classes, kind):
    scores = np.zeros((classes, 30, 45), kind)
    scores[0, 10, 20] = 1
    field = np.full((40, 60, 2), (-8 / 3, -4 / 3), np.float32)  # two cells of 4 pixels right, one down
    found = moved(scores, field)
    assert np.unravel_index(found[0].argmax(), found[0].shape) == (11, 22)
    assert found[0, 11, 22] == pytest.approx(1, abs=0.01)


def test_cells_look_up_the_motion_where_they_lie():
    """Padding behind the frame adds cells; the field is not stretched over them."""
    field = np.zeros((40, 60, 2), np.float32)
    field[20:, :, 1] = -4 / 3  # what is below the middle of the frame moved down by a cell of 4 pixels
    scores = np.arange(32, dtype=np.float32)[None, :, None].repeat(45, 2)
    found = moved(scores, field)[0, :, 0]
    np.testing.assert_allclose(found[:14], np.arange(14))
    np.testing.assert_allclose(found[16:], np.arange(16, 32) - 1, atol=1e-4)
