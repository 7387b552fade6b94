"""When each stage of a network runs over the frames of a video: the text of a `schedule`.

`every` · `fixed:K` · `fixed:1,2,4` · `adaptive:T`; `/still` behind one of them leaves old scores where they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest

EVERY = "every"
STILL = "/still"
OLDEST = 30  # frames: no stage rests longer, however little moves
GRAMMAR = "every, fixed:K, fixed:1,2,4 (a clock a stage, the deepest last), adaptive:T; /still behind it moves nothing"


@dataclass(frozen=True)
class Schedule:
    """When stages run. Stages are counted from the shallowest.

    clocks: frames from one run of a stage to its next, for the deepest stages; those before run on
    every frame. cells: a stage but the first runs when the picture has moved by more than so many of
    its own cells since it ran last; None where clocks tell. moves: old scores go along with the picture.
    """

    text: str
    clocks: tuple[int, ...] = ()
    cells: float | None = None
    moves: bool = True

    def clocks_of(self, stages: int) -> tuple[int, ...]:
        """Of each stage, the longest rests for an adaptive schedule. BadInput where the network has fewer."""
        if self.cells is not None:
            return (1, *[OLDEST] * (stages - 1))
        if len(self.clocks) > stages:
            raise BadInput(f"schedule {self.text}: {len(self.clocks)} clocks for a network of {stages} stages")
        return (*[1] * (stages - len(self.clocks)), *self.clocks)

    def depths_of(self, stages: int) -> tuple[int, ...]:
        """How many stages may run on a frame, all that ever happens; deepest first."""
        if self.cells is not None:
            return tuple(range(stages, 0, -1))
        clocks = (1, *self.clocks_of(stages))
        return (stages, *[depth for depth in range(stages - 1, -1, -1) if clocks[depth] < clocks[depth + 1]])

    def depth(self, ages: Sequence[int], moved: Sequence[float] = ()) -> int:
        """How many stages run on this frame: all down to the deepest that is due.

        ages: frames since each stage ran. moved: own cells that the picture has moved since then,
        for adaptive schedules.
        """
        due = [age >= clock for age, clock in zip(ages, self.clocks_of(len(ages)), strict=True)]
        if self.cells is not None:
            due = [old or cells > self.cells for old, cells in zip(due, moved, strict=True)]
        return max((stage for stage, is_due in enumerate(due, 1) if is_due), default=0)


def schedule_from_text(text: str) -> Schedule:
    """The schedule in words. Raises BadInput that says what is possible."""
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
        raise BadInput(f"schedule {text!r}: a deep stage needs the stages before it, so clocks grow: fixed:{fixed}")
    return clocks


def _cells(value: str, text: str) -> float:
    try:
        cells = float(value)
    except ValueError:
        cells = math.nan
    if not 0 <= cells < math.inf:
        raise BadInput(f"schedule {text!r}: expected cells of the score map that may move, such as adaptive:0.5")
    return cells
