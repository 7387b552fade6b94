"""Fine-tuning: the same weights with and without a kill in between, the best kept, and what is refused."""

from __future__ import annotations

import errno
import json
import math
import platform
import subprocess
import sys
import threading
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing was trained")

from fcn_edge.data import dataset_from_name  # noqa: E402
from fcn_edge.engines import open_engine  # noqa: E402
from fcn_edge.errors import BadInput  # noqa: E402
from fcn_edge.metrics import confusion_from_maps, scores_from_confusion  # noqa: E402
from fcn_edge.models.checkpoint import checkpoint_from_file, network_from_recipe  # noqa: E402
from fcn_edge.registry import InputRecipe, NetworkRecipe, Recipe, SceneRecipe, TrainRecipe  # noqa: E402
from fcn_edge.training import fine_tuning, loop  # noqa: E402
from fcn_edge.training.batches import EpochBatches, prefetched  # noqa: E402
from fcn_edge.training.camera import with_sensor  # noqa: E402
from fcn_edge.training.crops import random_crop, whole_picture  # noqa: E402
from fcn_edge.training.reader import ImageReader  # noqa: E402
from fcn_edge.training.starting_weights import layers_from_checkpoint  # noqa: E402
from tests.labelfiles import GREY, RGB, png_from_samples  # noqa: E402
from tests.refusals import refused  # noqa: E402
from tests.training.runs import train_network  # noqa: E402

LABELS = np.arange(24).reshape(4, 6) % 5 % 2
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
        "val": dataset_from_name("synthetic:street,seed=6,images=2,size=64x96"),
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


def test_training_reads_pictures_and_labels_upright(tmp_path):
    for part, samples, kind, tag in (("images", np.zeros((4, 6, 3), int), RGB, 6), ("labels", LABELS, GREY, None)):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.png").write_bytes(png_from_samples(samples, 1 if kind == GREY else 8, kind, tag))
    (tmp_path / "classes.json").write_text('{"names": ["a", "b"]}')
    image, labels = ImageReader(dataset_from_name(f"folder:{tmp_path}"))(0)
    assert image.shape == (6, 4, 3)
    np.testing.assert_array_equal(labels, np.rot90(LABELS, -1))


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


@pytest.mark.parametrize("part", ["val", "supplement"])
def test_sets_with_other_classes_are_refused(streets, tmp_path, part):
    other = replace(streets["val"], classes=("sky", "road"), palette=((0, 0, 0), (1, 1, 1)), name="other")
    with refused(BadInput, "other", "synthetic:street,seed=5,images=8,size=64x96", "sky, road"):
        train_network(RECIPE, tmp_path / "net.safetensors", **(streets | {part: other}))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"epochs": 0}, ("epochs 0", 1)),
        ({"batch": 0}, ("batch 0",)),
        ({"crop": (0, 96)}, ("crop 0x96",)),
        ({"scales": (1.6, 0.75)}, ("scales", "(1.6, 0.75)")),
        ({"stretch": -0.1}, ("stretch -0.1",)),
        ({"rotation": 181.0}, ("rotation 181", "0 to 180")),
        ({"camera": 1.1}, ("camera 1.1", "0 to 1")),
        ({"scenes": SceneRecipe("sky", share=2.0)}, ("scenes.share 2", "0 to 1")),
        ({"scenes": SceneRecipe("sky", scales=(1.5, 0.3))}, ("scenes.scales",)),
        ({"scenes": SceneRecipe("sky", most=0)}, ("scenes.most 0", 1)),
        ({"scenes": SceneRecipe("sky", background="sky")}, ("scenes.figure", "scenes.background", "sky")),
        ({"learning_rate": 0.0}, ("learning_rate 0",)),
        ({"synthetic_share": 1.0}, ("synthetic_share 1",)),
        ({"jaccard": -1.0}, ("jaccard -1", 0)),
        ({"average": 1.0}, ("average 1", 0)),
        ({"sensor": 1.5}, ("sensor 1.5",)),
        ({"rare_share": -0.1}, ("rare_share -0.1",)),
        ({"warm_up": 0.0}, ("warm_up 0",)),
        ({"backbone_rate": -1.0}, ("backbone_rate -1",)),
        ({"full_size_epochs": 3}, ("full_size_epochs 3", "0 to 2")),
        ({"epochs": -1, "batch": -1}, ("epochs -1", "batch -1")),
    ],
)
def test_recipes_that_cannot_be_are_refused(streets, tmp_path, change, facts):
    with refused(BadInput, "tiny", "[train]", *facts):
        train_network(replace(RECIPE, train=replace(PLAN, **change)), tmp_path / "net.safetensors", **streets)


def test_data_with_other_classes_than_the_recipe_s_are_refused(streets, tmp_path):
    for_voc = replace(RECIPE, network=replace(RECIPE.network, classes="voc"))
    with refused(BadInput, "11 classes", "tiny", "voc", 21, 'classes = "data"'):
        train_network(for_voc, tmp_path / "net.safetensors", data=streets["data"])
    with refused(BadInput, "camvdi", "camvid"):
        train_network(
            replace(RECIPE, network=replace(RECIPE.network, classes="camvdi")),
            tmp_path / "n.safetensors",
            data=streets["data"],
        )


@pytest.mark.slow
def test_classes_of_the_data_itself_are_taken(streets, tmp_path):
    own = replace(streets["data"], classes=tuple("abcdefghijk"))
    recipe = replace(RECIPE, network=replace(RECIPE.network, classes="data"), train=replace(PLAN, epochs=1))
    train_network(recipe, tmp_path / "net.safetensors", data=own)
    assert checkpoint_from_file(tmp_path / "net.safetensors").header.classes == own.classes


def test_soft_mean_iu_of_hard_classes_is_mean_iu():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 4, (2, 3, 20, 30))
    labels[labels == 3] = 9  # not labelled; class 3 is then no label's
    confusion = sum(confusion_from_maps(a.astype(np.uint8), b.astype(np.uint8), 4) for a, b in zip(labels, predicted))
    wanted = np.mean(scores_from_confusion(confusion).iou[:3])
    shares = torch.nn.functional.one_hot(torch.from_numpy(predicted), 4).permute(0, 3, 1, 2).float()
    assert loop.soft_mean_iu(shares, torch.from_numpy(labels), 9).item() == pytest.approx(wanted)


@pytest.mark.slow
def test_jaccard_term_is_added_and_has_a_gradient(streets, tmp_path):
    losses = []
    for weight in (0.0, 1.0):
        recipe = replace(RECIPE, train=replace(PLAN, epochs=1, jaccard=weight))
        record = train_network(recipe, tmp_path / f"{weight}.safetensors", data=streets["data"])
        losses.append(record["epochs"][0]["loss"])
    assert losses[1] > losses[0] + 0.3
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loop.soft_mean_iu(logits.softmax(1), torch.zeros(1, 4, 4, dtype=torch.long), 255).backward()
    assert (logits.grad[:, 0] > 0).all() and (logits.grad[:, 1] < 0).all()


def test_recipe_without_training_and_a_set_below_one_batch_are_refused(streets, tmp_path):
    with refused(BadInput, "tiny", "[train]"):
        train_network(replace(RECIPE, train=None), tmp_path / "net.safetensors", **streets)
    with refused(BadInput, "2 images", 4):
        train_network(RECIPE, tmp_path / "net.safetensors", data=streets["val"], val=streets["val"])


def test_folder_that_cannot_be_written_is_told_before_the_first_epoch(streets, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with refused(BadInput, "notes.txt", "written"):
        train_network(
            RECIPE, tmp_path / "notes.txt" / "net.safetensors", **streets, on_step=lambda *_: pytest.fail("late")
        )


@pytest.mark.parametrize("content", [{"conv1.weight": torch.zeros(1)}, b"words"])
def test_weights_of_another_backbone_are_refused(streets, tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with refused(BadInput, "weights.pth"):
        train_network(RECIPE, tmp_path / "net.safetensors", **streets, backbone=path)


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
    batches = EpochBatches(recipe, data, streets["val"])
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


def test_crop_around_a_pixel_holds_it():
    rng = np.random.default_rng(0)
    image, labels = np.zeros((120, 200, 3), np.uint8), np.zeros((120, 200), np.uint8)
    for x, y in ((0, 0), (199, 119), (100, 7), (3, 60)):
        labels[:] = 0
        labels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 9
        for _ in range(20):
            assert (random_crop(image, labels, PLAN, rng, 255, (x, y))[1] == 9).any(), (x, y)


def test_rare_classes_are_looked_for(streets):
    """A class of a single pixel is in every crop where `rare_share` is 1, and in few where it is 0."""

    @dataclass(frozen=True)
    class Sparse:
        name: str = "sparse"
        sequence: str = "drive"

        def image(self):
            return np.zeros((256, 512, 3), np.uint8)

        def labels(self):
            labels = np.zeros((256, 512), np.uint8)
            labels[200:203, 31:34] = 4
            return labels

    data = replace(streets["data"], items=[Sparse()] * 8)
    found = []
    for share in (0.0, 1.0):
        recipe = replace(RECIPE, train=replace(PLAN, rare_share=share, scales=(1.0, 1.0)))
        labels = np.concatenate([y for _, y in EpochBatches(recipe, data, None).epoch(0)])
        found.append((labels == 4).any((1, 2)).mean())
    assert found[0] < 0.5 and found[1] == 1.0


@pytest.mark.parametrize("size", [(64, 96), (60, 90)])
def test_whole_pictures_are_padded_as_at_inference(street, size):
    image, labels = street(3, (120, 180))
    given = replace(RECIPE.input, height=size[0], width=size[1])
    rng, seen = np.random.default_rng(0), set()
    resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR).astype(int)
    for _ in range(8):
        whole, marked = whole_picture(image, labels, given, rng, 255)
        assert whole.shape == (64, 96, 3)
        assert (marked[: size[0], : size[1]] != 255).all()
        assert (marked[size[0] :] == 255).all() and (marked[:, size[1] :] == 255).all()
        inside = whole[: size[0], : size[1]].astype(int)
        errors = [np.abs(inside - turned).mean() for turned in (resized, resized[:, ::-1])]
        seen.add(int(np.argmin(errors)))
        assert min(errors) < 4
    assert seen == {0, 1}


def test_last_epochs_see_whole_pictures(streets):
    recipe = replace(RECIPE, train=replace(PLAN, crop=(32, 32), full_size_epochs=1))
    batches = EpochBatches(recipe, streets["data"], None)
    assert [next(batches.epoch(number))[0].shape for number in (0, 1)] == [(4, 3, 32, 32), (4, 3, 64, 96)]


def test_sensor_blurs_and_adds_noise_to_its_share(frame):
    rng = np.random.default_rng(0)
    assert with_sensor(frame, 0.0, rng) is frame
    worse = [with_sensor(frame, 0.5, rng) for _ in range(40)]
    assert all(image.dtype == np.uint8 and image.shape == frame.shape for image in worse)
    assert 0.5 < np.mean([not np.array_equal(image, frame) for image in worse]) < 0.95


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
    state, kept = state_of(outs[0]), weights_of(outs[0])
    for name, value in kept.items():
        assert torch.equal(value, state["average"][f"module.{name}"]), name
        assert torch.allclose(value.float(), weights_of(outs[1])[name].float(), atol=SAME_WEIGHTS), name
    assert any(not torch.equal(value, state["network"][name]) for name, value in kept.items())


@pytest.mark.slow
def test_fcn16s_begins_with_the_layers_of_fcn32s(finished, streets, tmp_path):
    first, _, _ = finished
    staged = replace(RECIPE, network=replace(RECIPE.network, stride=4), train=replace(PLAN, epochs=1))
    record = train_network(staged, tmp_path / "net.safetensors", data=streets["data"], start=first)
    assert record["start"] == first.name
    assert record["layers_from_start"] == [
        "backbone",
        "score_fr",
        "score_pool3",
        "score_pool4",
        "upscore2",
        "upscore_pool4",
    ]
    fresh = network_from_recipe(staged.network, 11)
    assert layers_from_checkpoint(fresh, streets["data"].classes, first)
    assert torch.equal(fresh.state_dict()["score_fr.weight"], weights_of(first)["score_fr.weight"])
    assert not fresh.state_dict()["score_pool2.weight"].any()


def test_start_with_other_classes_or_another_backbone_is_refused(finished, streets):
    first, _, _ = finished
    network = network_from_recipe(RECIPE.network, 11)
    with refused(BadInput, "net.safetensors", "classes", "sky"):
        layers_from_checkpoint(network, ("sky", "road"), first)
    network = network_from_recipe(NetworkRecipe("resnet18", "camvid"), 11)
    with refused(BadInput, "net.safetensors", "efficientnet_lite0", "backbone.conv1.weight"):
        layers_from_checkpoint(network, streets["data"].classes, first)


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


def test_error_in_the_drawing_thread_comes_out_in_the_caller():
    def broken():
        yield "a batch"
        raise BadInput("street.jpg: not an image that decodes")

    taken = prefetched(broken())
    assert next(taken) == "a batch"
    with refused(BadInput, "street.jpg"):
        next(taken)


FAULTS = """
import resource, sys
import numpy as np
from fcn_edge.training.fine_tuning import keep_freed_memory
keep_freed_memory() if sys.argv[1] == "kept" else None
np.ones(1 << 23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    np.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_not_handed_back_to_the_kernel():
    """Page faults of 64 MiB arrays that come and go."""
    handed_back, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True, text=True).stdout)
        for how in ("as it is", "kept")
    )
    assert kept < 100 < handed_back
