"""Several sources on one engine: served round-robin, counted separately, and a lost one ends alone."""

from __future__ import annotations

import json
from contextlib import ExitStack

import numpy as np
import pytest

from fcn_edge.errors import BadInput, SourceLost
from fcn_edge.frame import Frame
from fcn_edge.schema import to_mapping
from fcn_edge.streaming.capture import Captures
from fcn_edge.streaming.pipeline import Feed, run_feeds
from fcn_edge.streaming.sinks import sinks_of_sources
from fcn_edge.streaming.sinks.base import Null, Sink
from tests.refusals import refused
from tests.streaming.conftest import AfterEach, Drawn, expected_class_map


class Collect(Sink):
    def __init__(self, uri: str = "collect:") -> None:
        super().__init__(uri)
        self.seen: list[tuple[int, int]] = []
        self.maps: list[np.ndarray] = []
        self.figures = None

    def begin(self, figures):
        self.figures = figures

    def write(self, result):
        self.seen.append((result.frame.stream, result.frame.index))
        self.maps.append(result.class_map)


class Gone(Drawn):
    """Gives its frames and is lost then."""

    def frames(self):
        yield from super().frames()
        raise SourceLost("camera unplugged")


def test_each_source_has_its_own_sinks_and_figures(engine):
    sinks = [Collect("a:"), Collect("b:")]
    small, large = Drawn(5), Drawn(9, (96, 32))
    summary = run_feeds([Feed(small, sinks[:1]), Feed(large, sinks[1:])], engine)
    assert [index for _, index in sinks[0].seen] == [0, 1, 2, 3, 4]
    assert [index for _, index in sinks[1].seen] == list(range(9))
    assert {stream for stream, _ in sinks[1].seen} == {1}
    assert np.array_equal(sinks[1].maps[2], expected_class_map(2, (96, 32)))
    assert (summary.frames_in, summary.frames_out) == (14, 14)
    assert [(s.stream, s.frames_out, s.size, s.state) for s in summary.streams] == [
        (0, 5, (48, 64), "ended"),
        (1, 9, (96, 32), "ended"),
    ]
    assert json.loads(json.dumps(to_mapping(summary), allow_nan=False))["streams"][1]["frames_in"] == 9


def test_next_is_the_following_source_with_a_frame():
    with Captures([Drawn(6), Drawn(6), Drawn(6)], ["every"] * 3) as captures:
        for capture in captures.each:  # until two frames wait at each
            with captures._changed:
                assert captures._changed.wait_for(lambda capture=capture: len(capture._held) == 2, 60)
        taken = [next(iter(captures)).stream for _ in range(6)]
    assert taken == [0, 1, 2, 0, 1, 2]


def test_one_lost_source_ends_alone_and_is_reported(engine):
    summary = run_feeds([Feed(Gone(2), []), Feed(Drawn(30), [])], engine)
    assert [s.frames_out for s in summary.streams] == [2, 30]
    assert summary.lost == "camera unplugged" and summary.streams[0].state == "lost"
    assert summary.streams[1].trouble == ""


def test_all_lost_before_a_frame_is_raised(engine):
    with pytest.raises(SourceLost, match="unplugged"):
        run_feeds([Feed(Gone(0), []), Feed(Gone(0), [])], engine)
    assert run_feeds([Feed(Gone(0), []), Feed(Gone(1), [])], engine).frames_out == 1


def test_other_errors_of_a_source_end_the_run(engine):
    class Bad(Drawn):
        def frames(self):
            yield from super().frames()
            raise BadInput("nothing can be read")

    with pytest.raises(BadInput, match="nothing can be read"):
        run_feeds([Feed(Bad(1), []), Feed(Drawn(1000), [])], engine)


def test_limit_counts_for_each_source(engine):
    summary = run_feeds([Feed(Drawn(50), []), Feed(Drawn(50), [])], engine, limit=3)
    assert [s.frames_out for s in summary.streams] == [3, 3]


def test_figures_can_be_asked_while_it_runs(engine):
    sink, during = Collect(), []
    run_feeds([Feed(Drawn(10), [sink])], engine, progress=AfterEach(lambda _: during.append(sink.figures()[0])))
    assert [f.state for f in during[:1]] == ["open"] and during[-1].frames_in == 10
    assert during[-1].size == (48, 64) and during[-1].last_frame_ms >= 0
    assert during[-1].frame_age_ms.p50 > 0 and sink.figures()[0].state == "ended"


def test_null_sinks_of_several_sources_do_not_collide_and_files_do(engine):
    run_feeds([Feed(Drawn(1), [Null("null:")]), Feed(Drawn(1), [Null("null:")])], engine)
    with refused(BadInput, "a:", "sink"):
        run_feeds([Feed(Drawn(1), [Collect("a:")]), Feed(Drawn(1), [Collect("a:")])], engine)


def test_files_of_several_sources_are_numbered(tmp_path, engine):
    uris = [str(tmp_path / "out.mp4"), f"{tmp_path}/masks/", "null:"]
    with ExitStack() as ends:
        sources = [Drawn(2), Drawn(3)]
        sinks = sinks_of_sources(uris, engine, sources, ends)
        run_feeds([Feed(source, own) for source, own in zip(sources, sinks)], engine)
    assert sorted(p.name for p in tmp_path.glob("*.mp4")) == ["out-0.mp4", "out-1.mp4"]
    assert len(list((tmp_path / "masks" / "1").glob("*.png"))) == 3


def test_live_silence_is_a_gap_and_so_is_a_skipped_index(engine):
    class Slow(Drawn):
        is_live = True
        stamps = (0, 40, 80, 2000, 2040)

        def frames(self):
            for frame, ms in zip(super().frames(), self.stamps):
                yield Frame(frame.image, frame.index + (ms == 2040), ms * 1_000_000, self.uri)

    source = Slow(5)
    source.fps = 25.0
    figures = run_feeds([Feed(source, [], "every")], engine).streams[0]
    assert figures.gaps == 2 and figures.longest_gap_ms == 1920
