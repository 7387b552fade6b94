"""Fine-tuning: the same weights with and without a kill in between, the best kept, and what is refused."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing was trained")

from fcn_edge import train  # noqa: E402 - needs torch
from fcn_edge.data import dataset_from_name  # noqa: E402
from fcn_edge.engines import open_engine  # noqa: E402
from fcn_edge.errors import BadInput  # noqa: E402
from fcn_edge.models.checkpoint import checkpoint_from_file  # noqa: E402
from fcn_edge.shelf import InputRecipe, NetworkRecipe, Recipe, TrainRecipe  # noqa: E402
from fcn_edge.train import train_network  # noqa: E402
from fcn_edge.train.batches import EpochBatches, prefetched, random_crop  # noqa: E402

SAME_WEIGHTS = 1e-5  # sums in another order, where threads share the work otherwise
PLAN = TrainRecipe(epochs=2, batch=4, crop=(64, 96), learning_rate=1e-3, class_balance=0.25, seed=1)
RECIPE = Recipe(
    "tiny",
    NetworkRecipe("efficientnet_lite0", "camvid"),
    InputRecipe(64, 96, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
    PLAN,
    "drawn by us",
)


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it, and nothing is written after it."""


@pytest.fixture(scope="module")
def streets():
    """Eight streets to train on and two to choose by."""
    return {
        "data": dataset_from_name("synthetic:street,seed=5,images=8,size=64x96"),
        "validation": dataset_from_name("synthetic:street,seed=6,images=2,size=64x96"),
    }


@pytest.fixture(scope="module")
def finished(streets, tmp_path_factory):
    """(checkpoint of an unbroken run, its record, its reports); never written to."""
    out, reports = tmp_path_factory.mktemp("finished") / "net.safetensors", []
    record = train_network(RECIPE, out, **streets, on_epoch=reports.append)
    return out, record, reports


def weights_of(path):
    return checkpoint_from_file(path).network.state_dict()


def state_of(out):
    return torch.load(out.with_name(out.name + ".state"), weights_only=True)


def test_run_leaves_a_checkpoint_that_runs_a_state_and_a_record(finished, streets):
    out, record, reports = finished
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "net.safetensors", "net.safetensors.record.json", "net.safetensors.state"
    ]  # fmt: skip
    assert json.loads(out.with_name("net.safetensors.record.json").read_text()) == record
    assert record["images"] == 8 and record["recipe"]["train"]["epochs"] == 2
    assert [report.epoch for report in reports] == [entry["epoch"] for entry in record["epochs"]] == [1, 2]
    assert record["best_miou"] == max(report.miou for report in reports)
    with open_engine(out) as engine:
        assert engine.spec.classes == streets["data"].classes and engine.spec.weights_terms == "drawn by us"


def test_run_that_was_killed_goes_on_to_the_same_weights(finished, streets, tmp_path):
    unbroken, record, _ = finished
    out, steps = tmp_path / "net.safetensors", []

    def kill(report):
        raise Killed

    with pytest.raises(Killed):
        train_network(RECIPE, out, **streets, on_epoch=kill)
    again = train_network(RECIPE, out, **streets, on_step=lambda *step: steps.append(step))
    assert steps == [(2, 1, 2), (2, 2, 2)]  # the first epoch is not done again
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


def test_best_checkpoint_is_kept_when_a_later_epoch_is_worse(streets, tmp_path, monkeypatch):
    mious, kept = iter([0.3, 0.2]), []
    monkeypatch.setattr(train, "validation_miou", lambda *_: next(mious))
    out = tmp_path / "net.safetensors"
    record = train_network(RECIPE, out, **streets, on_epoch=lambda report: kept.append(out.read_bytes()))
    assert kept[0] == kept[1] == out.read_bytes()
    assert record["best_miou"] == 0.3 and [entry["best_miou"] for entry in record["epochs"]] == [0.3, 0.3]


def test_loss_that_is_not_a_number_stops_and_keeps_the_last_good_checkpoint(streets, tmp_path, monkeypatch):
    real, calls, kept = torch.nn.functional.cross_entropy, [], []

    def loss(*args, **options):
        calls.append(1)
        return real(*args, **options) * (math.nan if len(calls) == 4 else 1.0)

    monkeypatch.setattr(train.functional, "cross_entropy", loss)
    out = tmp_path / "net.safetensors"
    with pytest.raises(BadInput, match="the loss is nan in epoch 2, step 2: lower learning_rate"):
        train_network(RECIPE, out, **streets, on_epoch=lambda report: kept.append(out.read_bytes()))
    assert kept == [out.read_bytes()] and state_of(out)["epoch"] == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "batches" and not ends(thread)]


def ends(thread):
    thread.join(5)
    return not thread.is_alive()


@pytest.mark.parametrize(
    ("change", "told"),
    [({"learning_rate": 2e-3}, "another recipe or data; delete it"), ({"epochs": 3}, "another recipe or data")],
)
def test_state_of_another_recipe_is_refused(finished, streets, change, told):
    out, _, _ = finished
    with pytest.raises(BadInput, match=f"net.safetensors.state: belongs to a run with {told}"):
        train_network(replace(RECIPE, train=replace(PLAN, **change)), out, **streets)


def test_state_of_other_data_is_refused(finished, streets):
    fewer = replace(streets["data"], name="other")
    with pytest.raises(BadInput, match="another recipe or data"):
        train_network(RECIPE, finished[0], data=fewer, validation=streets["validation"])


@pytest.mark.parametrize("content", [b"garbage", b"", b"PK\x03\x04cut off"])
def test_broken_state_is_told(streets, tmp_path, content):
    (tmp_path / "net.safetensors.state").write_bytes(content)
    with pytest.raises(BadInput, match=r"net.safetensors.state: not a state of training; delete it"):
        train_network(RECIPE, tmp_path / "net.safetensors", **streets)


def test_state_whose_checkpoint_is_gone_is_told(finished, streets, tmp_path):
    state = finished[0].with_name("net.safetensors.state")
    (tmp_path / state.name).write_bytes(state.read_bytes())
    with pytest.raises(BadInput, match=r"2 epochs are done, but .* is gone; delete the state to start anew"):
        train_network(RECIPE, tmp_path / "net.safetensors", **streets)


@pytest.mark.parametrize("part", ["validation", "supplement"])
def test_sets_with_other_classes_are_refused(streets, tmp_path, part):
    other = replace(streets["validation"], classes=("sky", "road"), palette=((0, 0, 0), (1, 1, 1)), name="other")
    with pytest.raises(BadInput, match=r"other has other classes than synthetic:.*: sky, road"):
        train_network(RECIPE, tmp_path / "net.safetensors", **(streets | {part: other}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": 0}, "epochs 0, expected 1 or more"),
        ({"batch": 0}, "batch 0"),
        ({"crop": (0, 96)}, "crop 0x96"),
        ({"scales": (1.6, 0.75)}, "scales"),
        ({"learning_rate": 0.0}, "learning_rate 0, expected above 0"),
        ({"synthetic_share": 1.0}, "synthetic_share 1"),
        ({"epochs": -1, "batch": -1}, "epochs -1, .*; batch -1"),
    ],
)
def test_recipes_that_cannot_be_are_refused(streets, tmp_path, change, told):
    with pytest.raises(BadInput, match=rf"tiny: \[train\] {told}"):
        train_network(replace(RECIPE, train=replace(PLAN, **change)), tmp_path / "net.safetensors", **streets)


def test_recipe_without_training_and_a_set_below_one_batch_are_refused(streets, tmp_path):
    with pytest.raises(BadInput, match=r"tiny: this recipe has no \[train\] section"):
        train_network(replace(RECIPE, train=None), tmp_path / "net.safetensors", **streets)
    with pytest.raises(BadInput, match="2 images are fewer than the 4 of one batch"):
        train_network(
            RECIPE, tmp_path / "net.safetensors", data=streets["validation"], validation=streets["validation"]
        )


def test_folder_that_cannot_be_written_is_told_before_the_first_epoch(streets, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(BadInput, match=r"notes.txt.*cannot be written"):
        train_network(
            RECIPE, tmp_path / "notes.txt" / "net.safetensors", **streets, on_step=lambda *_: pytest.fail("late")
        )


@pytest.mark.parametrize("content", [{"conv1.weight": torch.zeros(1)}, b"words"])
def test_weights_of_another_backbone_are_refused(streets, tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(BadInput, match=r"weights.pth"):
        train_network(RECIPE, tmp_path / "net.safetensors", **streets, backbone_weights=path)


def test_epochs_draw_the_same_batches_whenever_they_are_asked(streets):
    batches = EpochBatches(RECIPE, streets["data"], None)
    first, again, second = (list(batches.epoch(number)) for number in (3, 3, 4))
    assert len(first) == batches.per_epoch == 2
    assert all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(first, again))
    assert not np.array_equal(first[0][0], second[0][0])
    images, labels = first[0]
    assert images.shape == (4, 3, 64, 96) and images.dtype == np.float32
    assert labels.shape == (4, 64, 96) and labels.dtype == np.int64


def test_supplement_takes_its_share_and_ignores_what_the_set_ignores(streets):
    data = replace(streets["data"], ignore_index=11)
    recipe = replace(RECIPE, train=replace(PLAN, synthetic_share=0.5, scales=(0.2, 0.3)))  # smaller than the crop
    batches = EpochBatches(recipe, data, streets["validation"])
    assert (batches.real, batches.extra, batches.per_epoch) == (2, 2, 4)
    labels = next(batches.epoch(0))[1]
    assert set(np.unique(labels)) <= set(range(12)) and (labels == 11).any()


def test_crops_move_image_and_labels_alike():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (64, 96), np.uint8).repeat(4, 0).repeat(4, 1)
    image = np.stack([labels * 80] * 3, -1)
    for _ in range(20):
        cropped, marked = random_crop(image, labels, PLAN, rng, 255)
        inside = marked != 255
        near = np.abs(cropped[..., 0].astype(int) - marked.astype(int) * 80) <= 40
        assert cropped.shape == (64, 96, 3) and (near | ~inside).mean() > 0.75  # all but the edges between classes


def test_error_in_the_drawing_thread_comes_out_in_the_caller():
    def broken():
        yield "a batch"
        raise BadInput("street.jpg: not an image that decodes")

    taken = prefetched(broken())
    assert next(taken) == "a batch"
    with pytest.raises(BadInput, match=r"street.jpg"):
        next(taken)
