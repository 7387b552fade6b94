"""A network whose stages run by a schedule: deep scores of earlier frames are added to current shallow scores.

Source: Shelhamer, Rakelly, Hoffman, Darrell, "Clockwork Convnets for Video Semantic Segmentation", 2016.
Warping the old scores by optical flow is an addition of fcn-edge.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fcn_edge.engines.base import CompiledGraph, Engine, EngineOptions, Place, StageRuns, filled
from fcn_edge.errors import BadInput
from fcn_edge.motion import Grid, Motion, Track, is_cut, move, pixels_moved, thumbnail
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.onnxstages import stages_from_onnx
from fcn_edge.schedule import schedule_from_text
from fcn_edge.spec import Precision

if TYPE_CHECKING:
    from onnx import ModelProto

Compile = Callable[["ModelProto", str, Precision], CompiledGraph]

STREAMS_KEPT = 64  # the most recently used


@dataclass
class Past:
    """State of a stream: what is kept of its earlier frames.

    index: of the last frame. small: its thumbnail. ran: for each stage, index of the frame it last ran on.
    carried: number of stages -> sum of all scores deeper than these, of the frame that the next stage last ran on.
    """

    size: tuple[int, int]
    index: int
    small: np.ndarray | None
    ran: list[int]
    carried: dict[int, np.ndarray] = field(default_factory=dict)
    track: Track = field(default_factory=Track)


class ClockworkEngine(Engine):
    """An ONNX file split into graphs that run its first stages, all on one runtime.

    All stages run on the first frame of a stream, if its sequence or size changes, if a frame does not follow the last
    one, and after a scene cut. Results are in frame order.
    """

    def __init__(self, model: OnnxModel, options: EngineOptions, compile_graph: Compile) -> None:
        path, spec, precision = model.path, model.spec, model.precision
        stages = stages_from_onnx(model)
        self._schedule = schedule_from_text(options.schedule)
        self._strides = stages.strides
        depths = self._schedule.depths_of(len(stages.strides))
        if 0 in depths and spec.head.kind == "classes":
            raise BadInput(
                f"{path}: its output is a class map, which cannot be warped; use clock 1 for the first stage"
            )
        self._needed = sorted(depth for depth in depths if 0 < depth < len(stages.strides))
        self._keeps_result = 0 in depths
        self._graphs = {
            depth: compile_graph(stages.prefix(depth, [k for k in self._needed if k < depth]), path.name, precision)
            for depth in depths
            if depth
        }
        whole = self._graphs[len(stages.strides)]
        super().__init__(
            spec,
            precision=precision,
            execution=whole.execution,
            path=path,
            threads=options.threads,
            model_sha256=model.sha256_later(),
        )
        self.target, self.runtime, self.schedule = whole.target, whole.runtime, options.schedule
        self._looks = len(depths) > 1 and (self._schedule.moves or self._schedule.cells is not None)
        self._motion = Motion()
        self._pasts: OrderedDict[tuple[int, str], Past] = OrderedDict()
        self._place = Place(0, "", 0)  # of the current frame
        self._frames, self._runs, self._oldest = 0, [0] * len(self._strides), [0] * len(self._strides)

    def stage_runs(self) -> tuple[StageRuns, ...]:
        """How often each stage ran since the engine was opened, and the greatest age of its scores."""
        rows = zip(self._strides, self._runs, self._oldest, strict=True)
        return tuple(StageRuns(stride, runs, self._frames, oldest) for stride, runs, oldest in rows)

    def _run(self, x: np.ndarray, place: Place) -> np.ndarray:
        self._place = place
        small = thumbnail(x[0]) if self._looks else None
        past = self._past((x.shape[1], x.shape[2]))
        depth = len(self._strides)
        if past is None:
            past = self._new_past((x.shape[1], x.shape[2]))
        else:
            depth = self._depth(past, small)
        past.index, past.small = place.number, small
        result = self._result(depth, x, past)
        self._count(depth, past)
        return result

    def _past(self, size: tuple[int, int]) -> Past | None:
        """The state of this stream, if the current frame continues it."""
        key = self._place.stream, self._place.sequence
        past = self._pasts.get(key)
        if past is None or past.size != size or past.index >= self._place.number:
            return None
        self._pasts.move_to_end(key)
        return past

    def _new_past(self, size: tuple[int, int]) -> Past:
        stream, sequence, number = self._place
        for key in [key for key in self._pasts if key[0] == stream]:
            del self._pasts[key]  # a stream does not go back to an earlier sequence
        if len(self._pasts) == STREAMS_KEPT:
            self._pasts.popitem(last=False)
        past = Past(size, number, None, [number] * len(self._strides))
        self._pasts[stream, sequence] = past
        return past

    def _depth(self, past: Past, small: np.ndarray | None) -> int:
        """How many stages run. If not all do, the motion of this frame is added to the stream's track."""
        whole = len(self._strides)
        ages = [self._place.number - ran for ran in past.ran]
        depth = self._schedule.depth(ages) if self._schedule.cells is None else 0
        if depth == whole or small is None or past.small is None:
            return depth
        step = self._motion.field(small, past.small)
        if is_cut(small, past.small, step):
            return whole
        past.track.add(self._place.number, step)
        if self._schedule.cells is None:
            return depth
        pixels = [pixels_moved(past.track.back_to(ran), past.size[1]) for ran in past.ran]
        return self._schedule.depth(ages, [moved / stride for moved, stride in zip(pixels, self._strides, strict=True)])

    def _result(self, depth: int, x: np.ndarray, past: Past) -> np.ndarray:
        """The result of this frame: its first `depth` stages, and the kept scores of deeper ones."""
        if depth == 0:
            return self._warped_scores(0, past)
        deeper = [self._warped_scores(depth, past)] if depth < len(self._strides) else []
        result, *sums = self._graphs[depth].run([x, *deeper], self.workspace.take)
        past.ran[:depth] = [past.index] * depth
        past.track.forget_before(min(past.ran))
        keep = [k for k in self._needed if k < depth]
        past.carried.update(zip(keep, sums, strict=True))
        if self._keeps_result:  # a copy: the caller may write to the result
            past.carried[0] = filled(self.workspace.take, result)
        return result

    def _warped_scores(self, depth: int, past: Past) -> np.ndarray:
        """The sum of all scores deeper than `depth` stages, warped to this frame."""
        kept = past.carried[depth]
        if not self._schedule.moves:
            return kept if depth else filled(self.workspace.take, kept)
        out = self.workspace.take(kept.shape, kept.dtype)
        move(kept[0], past.track.back_to(past.ran[depth]), self._grid(depth, past.size), past.size, out[0])
        return out

    def _grid(self, depth: int, size: tuple[int, int]) -> Grid:
        """Grid of the sum deeper than `depth` stages; its first cell starts at the same pixel as that of the result."""
        own = self.spec.head.sampling.with_size(*size)
        step = float(self._strides[depth - 1]) if depth else 1 / own.x.scale
        half = (step - 1 / own.x.scale) / 2
        return Grid(step, half - own.y.offset / own.y.scale, half - own.x.offset / own.x.scale)

    def _count(self, depth: int, past: Past) -> None:
        self._frames += 1
        for stage, ran in enumerate(past.ran):
            self._runs[stage] += stage < depth
            self._oldest[stage] = max(self._oldest[stage], past.index - ran)

    def _release(self) -> None:
        self._graphs.clear()
        self._pasts.clear()
