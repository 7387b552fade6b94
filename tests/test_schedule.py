"""Schedules in words: which stages run on which frame, and what is refused."""

from __future__ import annotations

import pytest

from fcn_edge.errors import BadInput
from fcn_edge.schedule import OLDEST, Schedule, schedule_from_text
from tests.refusals import refused


def depths(text: str, frames: int, stages: int = 4) -> list[int]:
    """How many stages run on each frame of a stream that begins with all of them."""
    schedule, ran, found = schedule_from_text(text), [0] * stages, [stages]
    for index in range(1, frames):
        depth = schedule.depth([index - last for last in ran])
        ran[:depth] = [index] * depth
        found.append(depth)
    return found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("every", [4, 4, 4, 4, 4, 4]),
        ("fixed:1", [4, 4, 4, 4, 4, 4]),
        ("fixed:3", [4, 3, 3, 4, 3, 3]),
        ("fixed:1,2,4", [4, 2, 3, 2, 4, 2]),
        ("fixed:1,1,2,4", [4, 2, 3, 2, 4, 2]),
        ("fixed:2,2,2,4", [4, 0, 3, 0, 4, 0]),
        ("fixed:2,3", [4, 2, 3, 4, 2, 3]),
    ],
)
def test_clocks_are_those_of_the_deepest_stages(text, wanted):
    assert depths(text, len(wanted)) == wanted


@pytest.mark.parametrize("text", ["every", "fixed:4", "fixed:1,2,4", "fixed:2,2,2,4", "fixed:2,3", "fixed:5,5,5,5"])
def test_what_may_happen_is_what_happens(text):
    assert set(schedule_from_text(text).depths_of(4)) == set(depths(text, 60))


def test_frames_that_are_missing_count_as_age():
    schedule = schedule_from_text("fixed:1,2,4")
    assert schedule.depth([5, 5, 5]) == 3
    assert schedule.depth([1, 2, 3]) == 2


def test_adaptive_runs_what_moved_by_more_than_its_cells():
    schedule = schedule_from_text("adaptive:0.5")
    assert schedule.depth([1, 1, 1, 1], [0.0, 0.0, 0.0, 0.0]) == 1  # the shallowest always
    assert schedule.depth([1, 1, 1, 1], [2.0, 1.0, 0.5, 0.2]) == 2
    assert schedule.depth([1, 1, 1, 1], [2.0, 1.0, 0.4, 0.6]) == 4  # a deep stage needs those before it
    assert schedule.depth([1, 1, 1, OLDEST], [0.0, 0.0, 0.0, 0.0]) == 4  # nothing rests for ever


def test_still_is_kept_apart_from_the_clocks():
    assert schedule_from_text("fixed:1,2/still") == Schedule("fixed:1,2/still", (1, 2), moves=False)
    assert schedule_from_text("adaptive:1/still").moves is False


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("evry", "every"),
        ("", "every, fixed:K"),
        ("every:2", "every, fixed:K"),
        ("every/still", "every, fixed:K"),
        ("fixed", f"1 to {OLDEST}"),
        ("fixed:0", f"1 to {OLDEST}"),
        ("fixed:-1", f"1 to {OLDEST}"),
        ("fixed:1.5", f"1 to {OLDEST}"),
        ("fixed:1,,2", f"1 to {OLDEST}"),
        ("fixed:99", f"1 to {OLDEST}"),
        ("fixed:4,2,1", "fixed:1,2,4"),
        ("adaptive:", "adaptive:0.5"),
        ("adaptive:much", "adaptive:0.5"),
        ("adaptive:-1", "adaptive:0.5"),
        ("adaptive:nan", "adaptive:0.5"),
        ("adaptive:inf", "adaptive:0.5"),
    ],
)
def test_other_words_are_refused_with_what_is_possible(text, fact):
    with refused(BadInput, "schedule", fact):
        schedule_from_text(text)


def test_more_clocks_than_stages_are_refused():
    with refused(BadInput, "4 clocks", "3 stages"):
        schedule_from_text("fixed:1,1,2,4").depths_of(3)
