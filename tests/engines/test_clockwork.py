"""Networks whose stages run by a schedule: the same scores if all run, counted ages, and separate streams."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.engines.base import Place, StageRuns
from fcn_edge.errors import BadInput
from fcn_edge.geometry import Sampling, stride
from fcn_edge.onnxfile import METADATA_KEY, save_onnx, with_metadata
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.onnxstages import stages_from_onnx
from fcn_edge.spec import Head
from tests.refusals import refused

TARGETS = ("openvino", "onnxruntime")
SAME = 1e-5  # of the largest score: an optimiser fuses other nodes where a sum is an output too
SIZE = (64, 96)
CELLS = (16, 24)
CLASSES = 3


def small_fcn(path: Path, spec, *, skips: int = 2, fuse: str = "sum", head: str = "scores") -> Path:
    """An FCN of strided 3x3 convolutions, `skips` + 1 stages of strides 4, 8, ..., its scores at stride 4."""
    draw = np.random.default_rng(0)
    weights, nodes = [], []

    def weight(name, *shape):
        values = draw.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(x, out, channels, *, step=1, side=1):
        before = 3 if x == "ready" else (CLASSES + 8 if x.endswith("both") else 8)
        pads, strides = [side // 2] * 4, [step] * 2
        nodes.append(
            helper.make_node(
                "Conv", [x, weight(f"{out}_w", channels, before, side, side)], [out], out, pads=pads, strides=strides
            )
        )
        return out

    nodes.append(helper.make_node("Cast", ["frames"], ["levels"], "cast", to=TensorProto.FLOAT))
    weights.append(numpy_helper.from_array(np.float32(1 / 255), "scale"))
    nodes.append(helper.make_node("Transpose", ["levels"], ["planar"], "planar", perm=[0, 3, 1, 2]))
    nodes.append(helper.make_node("Mul", ["planar", "scale"], ["ready"], "ready"))
    x, maps = conv("ready", "stem", 8, step=2, side=3), []
    for stage in range(skips + 1):
        conv(x, f"stage{stage}_sum", 8, step=2, side=3)
        nodes.append(helper.make_node("Relu", [f"stage{stage}_sum"], [f"stage{stage}"], f"relu{stage}"))
        x = f"stage{stage}"
        maps.append(x)
    fused = conv(maps[-1], "score_fr", CLASSES)
    for stage in range(skips - 1, -1, -1):
        up, total = f"up{stage}", "y" if stage == 0 else f"fused{stage}"
        nodes.append(
            helper.make_node(
                "ConvTranspose",
                [fused, weight(f"{up}_w", CLASSES, CLASSES, 4, 4)],
                [up],
                up,
                strides=[2, 2],
                pads=[1] * 4,
            )
        )
        if fuse == "sum":
            nodes.append(helper.make_node("Add", [up, conv(maps[stage], f"score{stage}", CLASSES)], [total], total))
        else:
            both = f"{total}_both"
            nodes.append(helper.make_node("Concat", [up, maps[stage]], [both], both, axis=1))
            conv(both, total, CLASSES)
        fused = total
    if not skips:
        nodes.append(helper.make_node("Identity", [fused], ["y"], "end"))
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CLASSES, *CELLS])
    if head == "classes":
        nodes.append(helper.make_node("ArgMax", ["y"], ["best"], "best", axis=1, keepdims=0))
        nodes.append(helper.make_node("Cast", ["best"], ["classes"], "classes", to=TensorProto.UINT8))
        out = helper.make_tensor_value_info("classes", TensorProto.UINT8, [1, *CELLS])
    frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, [1, *SIZE, 3])
    graph = helper.make_graph(nodes, "small", [frames], [out], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    sampling = Sampling(stride(SIZE[0], 4), stride(SIZE[1], 4))
    told = replace(spec, head=Head(head, sampling))
    save_onnx(with_metadata(model, METADATA_KEY, told.to_json()), path)
    return path


@pytest.fixture
def small(tmp_path, make_spec):
    """Draws a small FCN, stages of strides 4, 8 and 16 unless told otherwise."""
    return lambda **options: small_fcn(tmp_path / "small.onnx", make_spec(), **options)


@pytest.fixture
def drive(street):
    """Frames of a street that moves 3 pixels a frame to the left, with some of it always in sight."""
    image = street(1, (SIZE[0], SIZE[1] + 60))[0]
    return [np.ascontiguousarray(image[:, 3 * n : 3 * n + SIZE[1]]) for n in range(12)]


def opened(path, schedule, target="onnxruntime", execution=None):
    return open_engine(path, target=target, options=EngineOptions(execution, 1, schedule=schedule))


def given(engine, images, *, stream=0, sequence="", start=0):
    """Scores of frames of a stream, as `start` hands them over."""
    found = []
    for index, image in enumerate(images, start):
        found.append(engine._begin_input(image[None], Place(stream, sequence, index))())
    return found


def assert_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one - other).max() <= SAME * np.abs(other).max()


def runs(engine):
    return [stage.runs for stage in engine.stage_runs()]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("schedule", ["fixed:1", "adaptive:0"])
@pytest.mark.parametrize("kind", ["onnx_file", "int8_file"])
def test_all_stages_on_every_frame_yield_what_the_whole_network_does(target, schedule, kind, drive, request):
    """adaptive:0 splits the graph at every skip and runs all of it where anything moves."""
    path = request.getfixturevalue(kind)
    with opened(path, schedule, target) as clockwork, opened(path, "every", target) as whole:
        found = given(clockwork, drive[:4])
        assert_same(found, given(whole, drive[:4]))
        assert runs(clockwork) == [4, 4, 4] and whole.stage_runs() == ()
        for told in ("target", "runtime", "precision", "execution", "spec"):
            assert getattr(clockwork, told) == getattr(whole, told)
        assert (clockwork.schedule, whole.schedule) == (schedule, "every")


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("schedule", ["fixed:4", "fixed:1,2,4", "fixed:2,2,4", "adaptive:0.5", "fixed:1,2,4/still"])
def test_picture_that_stands_still_keeps_its_scores(target, schedule, onnx_file, drive):
    """Then old scores are as good as fresh ones, and each prefix has to put them in the right place."""
    with opened(onnx_file, schedule, target) as clockwork, opened(onnx_file, "every", target) as whole:
        found = given(clockwork, [drive[0]] * 6)
        assert_same(found, given(whole, drive[:1]) * 6)
        assert runs(clockwork)[-1] < 3


def test_stages_run_by_their_clocks_and_their_ages_are_counted(small, drive):
    with opened(small(), "fixed:1,2,4") as engine:
        given(engine, drive[:9])
        rows = engine.stage_runs()
    assert rows == (StageRuns(4, 9, 9, 0), StageRuns(8, 5, 9, 1), StageRuns(16, 3, 9, 3))


def test_old_scores_move_with_the_picture(small, drive):
    """Moved along they are nearer to those of the whole network than left where they were."""
    path = small()
    with opened(path, "every") as whole:
        wanted = given(whole, drive)
    off = {}
    for schedule in ("fixed:6,6,6", "fixed:6,6,6/still"):
        with opened(path, schedule) as engine:
            found = given(engine, drive)
        off[schedule] = sum(np.abs(a - b).mean() for a, b in zip(found, wanted))
    assert off["fixed:6,6,6"] < 0.7 * off["fixed:6,6,6/still"], off


def test_adaptive_rests_while_nothing_moves_and_wakes_when_it_does(small, drive):
    with opened(small(), "adaptive:0.5") as engine:
        given(engine, [drive[0]] * 5)
        assert runs(engine) == [5, 1, 1]
        given(engine, drive[1:7], start=5)
        first, second, third = runs(engine)
    assert first == 11 and second > third > 1


def test_images_without_a_frame_follow_each_other(small, drive):
    with opened(small(), "fixed:2") as engine:
        for image in drive[:4]:
            engine.segment(image)
        assert runs(engine) == [4, 4, 2]


@pytest.mark.parametrize(
    "again",
    [{"sequence": "other", "start": 3}, {"start": 1}, {"start": 2}, {"stream": 1, "start": 3}],
    ids=["sequence", "back to an earlier frame", "the same frame", "stream"],
)
def test_stream_that_breaks_begins_again(small, drive, again):
    path = small()
    with opened(path, "fixed:4,4,4") as engine, opened(path, "every") as whole:
        given(engine, drive[:3])
        found = given(engine, [drive[8]], **again)
        assert runs(engine) == [2, 2, 2]
        assert_same(found, given(whole, [drive[8]]))


def test_another_size_begins_again(exported, street):
    path = exported(dynamic=True)
    with opened(path, "fixed:4") as engine, opened(path, "every") as whole:
        given(engine, [street(1)[0]] * 2)
        other = street(2, (96, 64))[0]
        assert_same(given(engine, [other], start=2), given(whole, [other]))
        assert runs(engine) == [3, 3, 2]


def test_cut_runs_all_stages(small, drive):
    with opened(small(), "fixed:9") as engine:
        given(engine, [*drive[:3], np.ascontiguousarray(255 - drive[3][::-1, ::-1])])
        assert [(row.runs, row.oldest) for row in engine.stage_runs()] == [(4, 0), (4, 0), (2, 2)]


def test_frames_that_were_dropped_count_as_age(small, drive):
    with opened(small(), "fixed:4") as engine:
        given(engine, drive[:2])
        given(engine, drive[5:6], start=5)
        assert runs(engine) == [3, 3, 2]


def test_streams_are_kept_apart(small, drive):
    path, other = small(), [image[::-1].copy() for image in drive]
    with opened(path, "fixed:3,3,3") as engine:
        alone = given(engine, drive[:5])
    with opened(path, "fixed:3,3,3") as engine:
        mixed = []
        for index in range(5):
            mixed += given(engine, [drive[index]], start=index)
            given(engine, [other[index]], stream=1, start=index)
    assert_same(mixed, alone)


def test_result_is_owned_by_the_caller(small, drive):
    path = small()
    with opened(path, "fixed:3,3,3/still") as engine:
        first, second = given(engine, drive[:2])
        first[...] = second[...] = 7
        (third,) = given(engine, drive[2:3], start=2)
    assert not (third == 7).any()


def test_stages_of_the_packaged_network_are_its_skips():
    from fcn_edge.engines import model_path

    stages = stages_from_onnx(OnnxModel.from_file(model_path(None)))
    assert stages.strides == (4, 8, 16, 32)
    shallow = stages.prefix(2, [1])
    assert [value.name for value in shallow.graph.input] == ["frames", stages.carried[1]]
    assert [value.name for value in shallow.graph.output] == ["y", stages.carried[0]]
    assert len(shallow.graph.node) < len(stages.model.graph.node) / 2


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"fuse": "concat"}, "fuse concat"),
        ({"skips": 0}, "skips"),
    ],
    ids=str,
)
def test_network_in_one_piece_is_refused(small, options, fact):
    with refused(BadInput, "small.onnx", fact, "schedule"):
        opened(small(**options), "fixed:2")


def test_class_map_is_not_carried_over_but_its_network_may_be_split(small, drive):
    path = small(head="classes")
    with refused(BadInput, "small.onnx", "class map", "clock 1"):
        opened(path, "fixed:2,2,2")
    with opened(path, "fixed:1,2,4") as engine:
        assert given(engine, drive[:3])[2].dtype == np.uint8
        assert runs(engine) == [3, 2, 1]


@pytest.mark.parametrize("target", ["reference", "tensorrt-rtx"])
def test_target_that_has_no_stages_is_refused(small, target):
    from fcn_edge.engines import engine_on_target

    with refused(BadInput, "fixed:2", "openvino", "onnxruntime", target):
        engine_on_target(small(), target, EngineOptions(schedule="fixed:2"))


def test_nonsense_is_refused(small):
    with refused(BadInput, "fixed:x", "1 to 30"):
        opened(small(), "fixed:x")
