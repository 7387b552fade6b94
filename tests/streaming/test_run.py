"""`fcn_edge.streaming.run` and `stream`: what they take, and what they open and close."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcn_edge.data import Dataset, open_dataset
from fcn_edge.errors import BadInput
from fcn_edge.frame import Style
from fcn_edge.streaming import run, stream
from fcn_edge.streaming.sinks import SinkOptions
from fcn_edge.streaming.sinks.base import Sink
from tests.refusals import refused
from tests.streaming.conftest import AfterEach, Drawn, expected_class_map, picture


class Collect(Sink):
    """Keeps class maps by stream and index."""

    def __init__(self, uri: str = "collect:") -> None:
        super().__init__(uri)
        self.maps: dict[tuple[int, int], np.ndarray] = {}
        self.closed = 0

    def write(self, result):
        self.maps[result.frame.stream, result.frame.index] = result.class_map

    def close(self):
        self.closed += 1


class Opened(Drawn):
    """Counts how often it is closed."""

    closed = 0

    def close(self):
        self.closed += 1


PICTURES = [picture(index) for index in range(5)]


def sources_of(tmp_path, write_images) -> dict[str, object]:
    paths = write_images(tmp_path / "in", 5)
    return {
        "text": str(tmp_path / "in"),
        "path": tmp_path / "in",
        "source": Drawn(5),
        "list": PICTURES,
        "array": np.stack(PICTURES),
        "generator": (cv2.imread(str(path)) for path in paths),
    }


@pytest.mark.parametrize("kind", ["text", "path", "source", "list", "array", "generator"])
def test_source_may_be_any_of_these(engine, tmp_path, write_images, kind):
    results = list(stream(engine, source=sources_of(tmp_path, write_images)[kind], style=Style(overlay=False)))
    assert [result.frame.index for result in results] == [0, 1, 2, 3, 4]
    for index, result in enumerate(results):
        np.testing.assert_array_equal(result.class_map, expected_class_map(index))


def test_data_set_is_a_source_with_labels(engine):
    data = open_dataset("synthetic:street,images=2,size=32x48")
    assert isinstance(data, Dataset)
    assert [result.frame.labels.shape for result in stream(engine, source=data)] == [(32, 48)] * 2


def test_file_is_a_file_whatever_its_name_means_as_an_address(engine, tmp_path, monkeypatch, write_images):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "0", 2)
    assert run(engine, source=Path("0")).frames_out == 2


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        ([], ["source"]),
        (None, ["source", "NoneType"]),
        (True, ["source", "bool"]),
        ({"a": 1}, ["source", "dict"]),
        (picture(0), ["source", "uint8(48, 64, 3)"]),
        ([1.5], ["source", "float"]),
        ([picture(0), "drive.mp4"], ["source", 1, "str"]),
    ],
    ids=["empty", "nothing", "truth", "mapping", "one image", "number", "mixed"],
)
def test_what_is_no_source_is_refused(engine, source, facts):
    with refused(BadInput, *facts):
        list(stream(engine, source=source))


def test_image_of_another_type_is_refused_after_those_before_it(engine):
    results, engine.in_flight = [], 3
    with refused(BadInput, "source", 2, "float32(48, 64, 3)"):
        results.extend(stream(engine, source=[picture(0), picture(1), picture(2).astype(np.float32)]))
    assert len(results) == 2


def test_generator_may_write_to_one_buffer_and_each_result_comes_at_once(engine):
    """As a camera does: the next image exists only after the result of the one before it was seen."""
    engine.in_flight, seen, buffer = 3, [], np.empty_like(picture(0))

    def camera():
        for index in range(4):
            until = time.monotonic() + 20
            while len(seen) < index - 1:  # one is read ahead
                assert time.monotonic() < until
                time.sleep(0.001)
            buffer[...] = picture(index)
            yield buffer

    for result in stream(engine, source=camera()):
        np.testing.assert_array_equal(result.frame.image, picture(result.frame.index))
        seen.append(result)
    assert len(seen) == 4


def test_several_sources_are_interleaved_and_have_their_own_files(engine, tmp_path, write_images):
    sink = Collect()
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        write_images(folder, 3)
    summary = run(engine, source=folders, sinks=[sink, tmp_path / "masks"])
    assert [each.frames_out for each in summary.streams] == [3, 3] and len(sink.maps) == 6
    assert sorted(path.name for path in (tmp_path / "masks" / "1").iterdir())[0] == "image00.png"
    streams = [result.frame.stream for result in stream(engine, source=[Drawn(2), Drawn(2)])]
    assert sorted(streams) == [0, 0, 1, 1]


def test_sinks_may_be_names_paths_open_sinks_and_functions(engine, tmp_path):
    sink, seen = Collect(), []
    sinks = [str(tmp_path / "shares.jsonl"), tmp_path / "masks", tmp_path / "out.mp4", sink, seen.append]
    summary = run(engine, source=Drawn(3), sinks=sinks)
    assert summary.frames_out == 3 and len(summary.outputs) == 5 and summary.failed == ""
    assert len((tmp_path / "shares.jsonl").read_text().splitlines()) == 3
    assert len(list((tmp_path / "masks").iterdir())) == 3 and (tmp_path / "out.mp4").is_file()
    assert [result.frame.index for result in seen] == [0, 1, 2] and seen[0].overlay.shape == (48, 64, 3)
    for index in range(3):
        np.testing.assert_array_equal(sink.maps[0, index], expected_class_map(index))


def test_several_functions_are_several_sinks(engine):
    one, other = [], []
    summary = run(
        engine, source=Drawn(2), sinks=[lambda result: one.append(result), lambda result: other.append(result)]
    )
    assert len(one) == len(other) == 2 and len(summary.outputs) == 2


def test_one_sink_need_not_be_in_a_list(engine, tmp_path):
    seen = []
    assert run(engine, source=Drawn(2), sinks=seen.append).frames_out == len(seen) == 2
    assert run(engine, source=Drawn(2), sinks=f"{tmp_path}/masks/").outputs == (f"{tmp_path}/masks/: 2 class maps",)


def test_what_is_no_sink_is_refused(engine):
    with refused(BadInput, "sinks", "int"):
        run(engine, source=Drawn(1), sinks=[7])


def test_open_sources_and_sinks_stay_open(engine):
    source, sink = Opened(2), Collect()
    for _ in range(2):
        assert run(engine, source=source, sinks=[sink]).frames_out == 2
        assert len(list(stream(engine, source=source))) == 2
    assert (source.closed, sink.closed) == (0, 0)


def test_overlay_is_drawn_only_where_it_is_shown(engine):
    seen = []
    run(engine, source=Drawn(1), sinks=[seen.append], style=Style(overlay=False))
    assert seen[0].overlay is None
    asked = []
    begin_frame = engine._begin_frame
    engine._begin_frame = lambda frame, style: asked.append(style.overlay) or begin_frame(frame, style)
    run(engine, source=Drawn(1), sinks=["null:"])
    run(engine, source=Drawn(1), sinks=[seen.append])
    assert asked == [False, True]


def test_error_of_a_function_ends_the_run_and_comes_out_of_it(engine):
    def fail(result):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(engine, source=Drawn(9), sinks=[fail])
    assert engine.segment(picture(1)).class_map.shape == (48, 64), "the engine goes on"


def test_sink_writes_over_nothing_that_is_read(engine, tmp_path, write_images):
    write_images(tmp_path / "in", 1)
    before = (tmp_path / "in" / "image00.png").read_bytes()
    with refused(BadInput, tmp_path / "in"):
        run(engine, source=tmp_path / "in", sinks=[tmp_path / "in"])
    assert (tmp_path / "in" / "image00.png").read_bytes() == before


def test_progress_is_reported_of_each_frame_and_of_the_page(engine):
    indices, notes = [], []
    progress = AfterEach(indices.append)
    progress.note = notes.append
    run(engine, source=Drawn(3), sinks=["http://127.0.0.1:0"], progress=progress, options=SinkOptions(legend=False))
    assert indices == [0, 1, 2] and len(notes) == 1 and "http://127.0.0.1" in notes[0]


def test_engine_is_prepared_for_recordings_and_as_before_afterwards(engine):
    asked = []
    engine.prepare = lambda in_flight: asked.append(in_flight) or engine.in_flight
    list(stream(engine, source=PICTURES))
    list(stream(engine, source=iter(PICTURES)))
    run(engine, source=Drawn(2), policy="newest")
    assert asked == [3, 1, 1, 1, 1, 1]
