"""`--schedule`: what run and evaluate say of stages that rested, and what they refuse."""

from __future__ import annotations

import pytest

from tests.refusals import assert_names

DATA = "synthetic:street,seed=5,images=7,size=64x96,video=1"


@pytest.mark.slow
def test_run_tells_how_often_each_stage_ran_and_how_old_its_scores_were(command, onnx_file):
    done = command("run", onnx_file, "--source", DATA, "--sink", "null:", "--schedule", "fixed:1,2,3", "--json")
    assert done.code == 0 and done.json["schedule"] == "fixed:1,2,3"
    stages = done.json["stage_runs"]
    assert [stage["stride"] for stage in stages] == [8, 16, 32]
    assert [(stage["runs"], stage["frames"], stage["oldest"]) for stage in stages] == [(7, 7, 0), (5, 7, 1), (3, 7, 2)]
    shown = command("run", onnx_file, "--source", DATA, "--sink", "null:", "--schedule", "fixed:1,2,3").out
    assert_names(shown, "stride 8", "7 of 7", "stride 16", 5, "stride 32", 3)


@pytest.mark.slow
def test_without_schedule_nothing_is_said_of_stages(command, onnx_file):
    done = command("run", onnx_file, "--source", DATA, "--sink", "null:", "--limit", 2, "--json")
    assert (done.json["schedule"], done.json["stage_runs"]) == ("every", [])


@pytest.mark.slow
def test_evaluate_holds_a_schedule_against_the_network_without(command, onnx_file):
    words = ["evaluate", onnx_file, "--data", DATA, "--schedule", "fixed:3", "--against", onnx_file]
    done = command(*words, "--json")
    assert done.code == 0
    assert (done.json["schedule"], done.json["stage_runs"][-1]["runs"]) == ("fixed:3", 3)
    assert done.json["against"]["difference"] == done.json["miou"] - done.json["against"]["miou"]


@pytest.mark.slow
def test_sets_that_are_no_videos_gain_and_lose_nothing(command, onnx_file):
    """Each picture of its own is a sequence of its own."""
    apart = DATA.replace(",video=1", "").replace("images=7", "images=3")
    done = command("evaluate", onnx_file, "--data", apart, "--schedule", "fixed:9,9,9", "--json")
    assert [stage["runs"] for stage in done.json["stage_runs"]] == [3, 3, 3]


def test_schedule_that_cannot_be_is_refused(command, onnx_file, checkpoint_file):
    words = ["run", "--source", DATA, "--sink", "null:", "--schedule"]
    command(*words[:1], onnx_file, *words[1:], "fixd:2").refuses(2, "fixd:2", "fixed")
    command(*words[:1], checkpoint_file, *words[1:], "fixed:2").refuses(2, "fixed:2", "pytorch", "openvino")
