"""Writers: no sink waits for another, a live stream never waits, a recording loses nothing."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame
from fcn_edge.streaming.sinks.base import Sink
from fcn_edge.streaming.writer import DEPTH, Writer
from tests.streaming.conftest import Drawn, result_of, run_into

PATIENCE_S = 30


class Noting(Sink):
    """Notes the indices that it gets; waits for `released` before each."""

    def __init__(self, uri: str = "noting:", released: threading.Event | None = None) -> None:
        super().__init__(uri)
        self.indices: list[int] = []
        self.released = released
        self.closed = self.discarded = 0

    def write(self, result):
        if self.released is not None:
            assert self.released.wait(PATIENCE_S)
        self.indices.append(result.frame.index)

    def close(self):
        self.closed += 1

    def discard(self):
        self.discarded += 1


def put(writer: Writer, indices) -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    for index in indices:
        writer.put(result_of(Frame(image, index, index, "x"), image[..., 0]))


def test_live_stream_does_not_wait_for_a_slow_sink_and_counts_what_it_missed():
    slow = Noting(released=threading.Event())
    with Writer([slow], may_miss=True) as writer:
        put(writer, range(50))  # would never return if it waited
        slow.released.set()
    assert slow.indices[-1] == 49 and slow.indices == sorted(slow.indices)
    assert slow.missed == 50 - len(slow.indices) >= 50 - DEPTH - 1
    assert writer.count == 50


def test_slow_sink_does_not_hold_up_another():
    slow, quick = Noting("slow:", threading.Event()), Noting("quick:")
    came = threading.Event()
    quick.write = lambda result: came.set()
    with Writer([slow, quick], may_miss=True) as writer:
        put(writer, [0])
        assert came.wait(PATIENCE_S)
        slow.released.set()
    assert slow.indices == [0]


def test_recording_waits_for_a_slow_sink_and_loses_nothing():
    slow = Noting(released=threading.Event())
    reached = []
    with Writer([slow], may_miss=False) as writer:
        producer = threading.Thread(target=lambda: [reached.append(n) or put(writer, [n]) for n in range(30)])
        producer.start()
        producer.join(0.2)
        assert producer.is_alive() and len(reached) <= DEPTH + 2
        slow.released.set()
        producer.join(PATIENCE_S)
    assert slow.indices == list(range(30)) and slow.missed == 0


def test_times_are_noted_of_views_that_every_sink_took():
    slow, quick = Noting("slow:", threading.Event()), Noting("quick:")
    with Writer([slow, quick], may_miss=True) as writer:
        put(writer, range(20))
        slow.released.set()
    whole = set(slow.indices) & set(quick.indices)
    assert writer.written.count == len(whole) > 0
    assert all(done[0] >= 0 and done[1] > 0 for done in writer.written.last())


def test_sink_that_cannot_write_ends_the_run_with_a_summary_and_the_others_are_closed(engine):
    class Full(Noting):
        def write(self, result):
            super().write(result)
            if result.frame.index == 3:
                raise BadInput("the disk is full")

        def discard(self):
            super().discard()
            raise OSError("still full")

    full, other = Full("full:"), Noting("other:")
    summary = run_into(Drawn(1000), engine, [full, other])
    assert summary.failed == "the disk is full" and not summary.interrupted
    assert full.indices == [0, 1, 2, 3] and full.discarded == 1
    assert full.closed == other.closed == 1
    assert other.indices == list(range(summary.frames_out)) and summary.frames_out < 50


@pytest.mark.parametrize("error", [BadInput("no room for the index"), RuntimeError("a defect")])
def test_sink_that_cannot_close_is_reported_and_the_others_are_closed(engine, error):
    class Bad(Noting):
        def close(self):
            raise error

    bad, other = Bad("bad:"), Noting("other:")
    if isinstance(error, BadInput):
        assert run_into(Drawn(2), engine, [bad, other]).failed == "no room for the index"
    else:
        with pytest.raises(RuntimeError, match="a defect"):
            run_into(Drawn(2), engine, [bad, other])
    assert other.closed == 1
