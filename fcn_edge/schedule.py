"""Which stages of a network run on which frames of a video: the text of a `schedule`.

`every` · `fixed:K` · `fixed:1,2,4` · `adaptive:T`; the suffix `/still` does not warp old scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest

EVERY = "every"
STILL = "/still"
OLDEST = 30  # frames: a stage is skipped for at most this long, even without motion
GRAMMAR = (
    "every, fixed:K, fixed:1,2,4 (one clock per stage, deepest last), adaptive:T; the suffix /still turns warping off"
)


@dataclass(frozen=True)
class Schedule:
    """Which stages run on which frames. Stages are numbered from the shallowest.

    clocks: frames between two runs of a stage, for the deepest stages; earlier stages run on
    every frame. cells: each stage except the first runs when the image has moved by more than this number of
    its own cells since it last ran; None if clocks are set. moves: old scores are warped by the motion.
    """

    text: str
    clocks: tuple[int, ...] = ()
    cells: float | None = None
    moves: bool = True

    def clocks_of(self, stages: int) -> tuple[int, ...]:
        """Clock of each stage; OLDEST for an adaptive schedule. Raises BadInput if the network has fewer stages."""
        if self.cells is not None:
            return (1, *[OLDEST] * (stages - 1))
        if len(self.clocks) > stages:
            raise BadInput(f"schedule {self.text}: {len(self.clocks)} clocks for a network of {stages} stages")
        return (*[1] * (stages - len(self.clocks)), *self.clocks)

    def depths_of(self, stages: int) -> tuple[int, ...]:
        """All numbers of stages that may run on a frame, largest first."""
        if self.cells is not None:
            return tuple(range(stages, 0, -1))
        clocks = (1, *self.clocks_of(stages))
        return (stages, *[depth for depth in range(stages - 1, -1, -1) if clocks[depth] < clocks[depth + 1]])

    def depth(self, ages: Sequence[int], moved: Sequence[float] = ()) -> int:
        """How many stages run on this frame: all up to the deepest that is due.

        ages: frames since each stage ran. moved: motion since then in cells of each stage,
        for adaptive schedules.
        """
        due = [age >= clock for age, clock in zip(ages, self.clocks_of(len(ages)), strict=True)]
        if self.cells is not None:
            due = [old or cells > self.cells for old, cells in zip(due, moved, strict=True)]
        return max((stage for stage, is_due in enumerate(due, 1) if is_due), default=0)


def schedule_from_text(text: str) -> Schedule:
    """Parse the text of a schedule. Raises BadInput with the grammar."""
    moves = not text.endswith(STILL)
    kind, colon, value = text.removesuffix(STILL).partition(":")
    if kind == EVERY and not colon and moves:
        return Schedule(text, (1,))
    if kind == "fixed":
        return Schedule(text, _clocks(value, text), moves=moves)
    if kind == "adaptive":
        return Schedule(text, cells=_cells(value, text), moves=moves)
    raise BadInput(f"schedule {text!r}: {GRAMMAR}{nearest(kind, (EVERY, 'fixed', 'adaptive'))}")


def _clocks(value: str, text: str) -> tuple[int, ...]:
    words = [word.strip() for word in value.split(",")]
    if not all(word.isascii() and word.isdecimal() and 1 <= int(word) <= OLDEST for word in words):
        raise BadInput(f"schedule {text!r}: clocks are whole numbers from 1 to {OLDEST}, such as fixed:1,2,4")
    clocks = tuple(int(word) for word in words)
    if list(clocks) != sorted(clocks):
        fixed = ",".join(str(clock) for clock in sorted(clocks))
        raise BadInput(
            f"schedule {text!r}: a stage needs the stages before it, so clocks must not decrease: fixed:{fixed}"
        )
    return clocks


def _cells(value: str, text: str) -> float:
    try:
        cells = float(value)
    except ValueError:
        cells = math.nan
    if not 0 <= cells < math.inf:
        raise BadInput(
            f"schedule {text!r}: expected the allowed motion in cells of the score map, such as adaptive:0.5"
        )
    return cells
