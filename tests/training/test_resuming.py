"""What a run leaves behind, and how it goes on after a kill: the same weights, the best kept."""

from __future__ import annotations

import errno
import json
import math
import threading
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing was trained")

from fcn_edge.engines import open_engine  # noqa: E402
from fcn_edge.errors import BadInput  # noqa: E402
from fcn_edge.models.checkpoint import checkpoint_from_file  # noqa: E402
from fcn_edge.training import fine_tuning, loop  # noqa: E402
from tests.refusals import refused  # noqa: E402
from tests.training.runs import (  # noqa: E402
    PLAN,
    RECIPE,
    SAME_WEIGHTS,
    Killed,
    state_of,
    train_network,
    weights_of,
)


@pytest.mark.slow
def test_run_leaves_a_checkpoint_that_runs_a_state_and_a_record(finished, streets):
    out, record, reports = finished
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "net.safetensors",
        "net.safetensors.record.json",
        "net.safetensors.record.png",
        "net.safetensors.state",
    ]
    assert json.loads(out.with_name("net.safetensors.record.json").read_text()) == record
    assert record["images"] == 8 and record["recipe"]["train"]["epochs"] == 2
    assert [line.split()[1] for line in reports] == ["1/2", "2/2"] and [e["epoch"] for e in record["epochs"]] == [1, 2]
    assert record["best_miou"] == max(entry["miou"] for entry in record["epochs"])
    with open_engine(out) as engine:
        assert engine.spec.classes == streets["data"].classes and engine.spec.weights_terms == "drawn by us"


@pytest.mark.slow
def test_run_that_was_killed_goes_on_to_the_same_weights(finished, streets, tmp_path):
    unbroken, record, _ = finished
    out, steps = tmp_path / "net.safetensors", []

    def kill(report):
        raise Killed

    with pytest.raises(Killed):
        train_network(RECIPE, out, **streets, on_epoch=kill)
    again = train_network(RECIPE, out, **streets, on_step=lambda *step: steps.append(step))
    assert steps == [("epoch 2", 1, 2), ("epoch 2", 2, 2)]  # the first epoch is not done again
    assert [entry["loss"] for entry in again["epochs"]] == pytest.approx(
        [e["loss"] for e in record["epochs"]], rel=1e-4
    )
    assert again["best_miou"] == pytest.approx(record["best_miou"], abs=1e-3)
    for one, other in (
        (state_of(unbroken)["network"], state_of(out)["network"]),
        (weights_of(unbroken), weights_of(out)),
    ):
        for name, value in one.items():
            assert torch.allclose(value.float(), other[name].float(), atol=SAME_WEIGHTS), name


def test_finished_run_is_not_trained_again(finished, streets):
    out, record, _ = finished
    before = out.read_bytes()
    again = train_network(RECIPE, out, **streets, on_step=lambda *step: pytest.fail("trained again"))
    assert again == record and out.read_bytes() == before


@pytest.mark.slow
def test_best_checkpoint_is_kept_when_a_later_epoch_is_worse(streets, tmp_path, monkeypatch):
    mious, kept = iter([0.3, 0.2]), []
    monkeypatch.setattr(fine_tuning, "validation_miou", lambda *_: next(mious))
    out = tmp_path / "net.safetensors"
    record = train_network(RECIPE, out, **streets, on_epoch=lambda report: kept.append(out.read_bytes()))
    assert kept[0] == kept[1] == out.read_bytes()
    assert record["best_miou"] == 0.3 and [entry["best_miou"] for entry in record["epochs"]] == [0.3, 0.3]


@pytest.mark.slow
def test_loss_that_is_not_a_number_stops_and_keeps_the_last_good_checkpoint(streets, tmp_path, monkeypatch):
    real, calls, kept = loop.TrainingRun._head_loss, [], []

    def loss(*args, **options):
        calls.append(1)
        return real(*args, **options) * (math.nan if len(calls) == 4 else 1.0)

    monkeypatch.setattr(loop.TrainingRun, "_head_loss", loss)
    out = tmp_path / "net.safetensors"
    with refused(BadInput, "loss", "nan", "epoch 2", "step 2", "learning_rate"):
        train_network(RECIPE, out, **streets, on_epoch=lambda report: kept.append(out.read_bytes()))
    assert kept == [out.read_bytes()] and state_of(out)["epoch"] == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "batches" and not ends(thread)]


def ends(thread):
    thread.join(5)
    return not thread.is_alive()


@pytest.mark.parametrize("change", [{"learning_rate": 2e-3}, {"epochs": 3}])
def test_state_of_another_recipe_is_refused(finished, streets, change):
    out, _, _ = finished
    with refused(BadInput, "net.safetensors.state", "recipe"):
        train_network(replace(RECIPE, train=replace(PLAN, **change)), out, **streets)


def test_state_of_other_data_is_refused(finished, streets):
    fewer = replace(streets["data"], name="other")
    with refused(BadInput, "net.safetensors.state", "recipe"):
        train_network(RECIPE, finished[0], data=fewer, val=streets["val"])


@pytest.mark.parametrize("content", [b"garbage", b"", b"PK\x03\x04cut off"])
def test_broken_state_is_told(streets, tmp_path, content):
    (tmp_path / "net.safetensors.state").write_bytes(content)
    with refused(BadInput, "net.safetensors.state"):
        train_network(RECIPE, tmp_path / "net.safetensors", **streets)


@pytest.mark.slow
def test_state_whose_checkpoint_is_gone_is_told(finished, streets, tmp_path):
    state = finished[0].with_name("net.safetensors.state")
    (tmp_path / state.name).write_bytes(state.read_bytes())
    with refused(BadInput, "net.safetensors.state", "2 epochs", "net.safetensors"):
        train_network(RECIPE, tmp_path / "net.safetensors", **streets)


AVERAGED = replace(RECIPE, train=replace(PLAN, average=0.5, backbone_rate=0.1))


@pytest.mark.slow
def test_moving_average_is_what_is_kept_and_survives_a_kill(streets, tmp_path):
    outs = [tmp_path / name for name in ("unbroken.safetensors", "killed.safetensors")]

    def kill(report):
        raise Killed

    train_network(AVERAGED, outs[0], data=streets["data"])
    with pytest.raises(Killed):
        train_network(AVERAGED, outs[1], data=streets["data"], on_epoch=kill)
    record = train_network(AVERAGED, outs[1], data=streets["data"])
    assert record["best_miou"] is None and [entry["miou"] for entry in record["epochs"]] == [None, None]
    state, kept, resumed = state_of(outs[0]), weights_of(outs[0]), weights_of(outs[1])
    for name, value in kept.items():
        assert torch.equal(value, state["average"][f"module.{name}"]), name
        assert torch.allclose(value.float(), resumed[name].float(), atol=SAME_WEIGHTS), name
    assert any(not torch.equal(value, state["network"][name]) for name, value in kept.items())


@pytest.mark.slow
def test_disk_that_fills_while_saving_leaves_the_last_checkpoint(streets, tmp_path, monkeypatch):
    out, real, calls = tmp_path / "net.safetensors", loop.torch.save, []

    def full(*args):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args)

    monkeypatch.setattr(loop.torch, "save", full)
    with refused(BadInput, "net.safetensors.state", "disk"):
        train_network(RECIPE, out, data=streets["data"])
    checkpoint_from_file(out)
    assert state_of(out)["epoch"] == 1 and not list(tmp_path.glob("*.part*"))
    monkeypatch.undo()
    assert len(train_network(RECIPE, out, data=streets["data"])["epochs"]) == 2  # goes on with room
