"""Training with INT8's rounding: it rounds where the calibrated file does, and gets back what INT8 takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing was trained")

from fcn_edge.calibration import calibrate  # noqa: E402 - needs torch
from fcn_edge.data import dataset_from_name  # noqa: E402
from fcn_edge.engines import EngineOptions, engine_on_target  # noqa: E402
from fcn_edge.errors import BadInput, CheckFailed  # noqa: E402
from fcn_edge.experimental.pairs import pairs_from_onnx  # noqa: E402
from fcn_edge.experimental.qat import fine_tune, held_to_file, recipe_for_int8, rounding_from_checkpoint  # noqa: E402
from fcn_edge.exporting import export  # noqa: E402
from fcn_edge.metrics import confusion_from_maps, scores_from_confusion  # noqa: E402
from fcn_edge.models.checkpoint import checkpoint_from_file, save_checkpoint  # noqa: E402
from fcn_edge.registry import InputRecipe, NetworkRecipe, Recipe, TrainRecipe  # noqa: E402
from tests.refusals import refused  # noqa: E402
from tests.training.runs import train_network  # noqa: E402

STREETS = "synthetic:street,seed=5,images=12,size=64x96"
OUTLIER = 256.0  # how much larger one channel is made than its neighbours
RECIPE = Recipe(
    "tiny18",
    NetworkRecipe("resnet18", "camvid", width=0.125),
    InputRecipe(64, 96, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
    TrainRecipe(epochs=24, batch=4, crop=(64, 96), scales=(1.0, 1.0), learning_rate=4e-3, photometric=0.0, seed=1),
    "drawn by us",
)


def with_outliers(path, out):
    """The same network in float, with every fourth channel inside each block OUTLIER times its neighbours."""
    given = checkpoint_from_file(path)
    with torch.no_grad():
        for layer in (given.network.backbone.layer1, given.network.backbone.layer2):
            for block in layer:
                block.bn1.weight[::4] *= OUTLIER
                block.bn1.bias[::4] *= OUTLIER
                block.conv2.weight[:, ::4] /= OUTLIER
    save_checkpoint(out, given.network, given.header)
    return out


def miou_on_reference(file):
    data = dataset_from_name(STREETS)
    confusion = 0
    with engine_on_target(file, "reference", EngineOptions()) as engine:
        for item in data.items:
            confusion = confusion + confusion_from_maps(item.labels(), engine.segment(item.image()).class_map, 11)
    return 100 * scores_from_confusion(confusion).miou


def files_of(checkpoint):
    """(fp32 file, INT8 file) of a checkpoint."""
    exact = export(checkpoint, checkpoint.with_suffix(".onnx")).path
    return exact, calibrate(exact, STREETS, checkpoint.with_suffix(".int8.onnx")).path


@pytest.fixture(scope="module")
def outlying(tmp_path_factory):
    """A trained network whose outlying channels INT8 pays for; never written to."""
    folder = tmp_path_factory.mktemp("outlying")
    train_network(RECIPE, folder / "net.safetensors", data=dataset_from_name(STREETS))
    return with_outliers(folder / "net.safetensors", folder / "outlying.safetensors")


@pytest.mark.slow
def test_network_rounds_where_the_calibrated_file_does(checkpoint_file, int8_file, street):
    """EfficientNet-Lite0: borders of zeros that the export folds, BGR, residual sums, ReLU6."""
    given, pairs = checkpoint_from_file(checkpoint_file), pairs_from_onnx(int8_file)
    assert {len(own) for own in pairs.values()} == {1, 2}
    held = held_to_file(given, pairs, checkpoint_file, int8_file, street(3)[0])
    assert held.equal_integers > 0.99 and held.closer_db > 6
    assert list(given.network.state_dict()) == list(checkpoint_from_file(checkpoint_file).network.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("node", ["/backbone/_blocks.8/_project_conv/Conv", "/backbone/_blocks.14/Add"])
def test_one_scale_that_differs_stops_before_training(checkpoint_file, int8_file, street, node):
    pairs = pairs_from_onnx(int8_file)
    pairs[node] = tuple(replace(pair, scale=1.05 * pair.scale) for pair in pairs[node])
    with refused(CheckFailed, "tiny.safetensors", "INT8", 99):
        held_to_file(checkpoint_from_file(checkpoint_file), pairs, checkpoint_file, int8_file, street(3)[0])


@pytest.mark.slow
def test_training_with_rounding_gets_back_what_outliers_cost(outlying, tmp_path):
    exact, before = map(miou_on_reference, files_of(outlying))
    rounding = rounding_from_checkpoint(outlying, RECIPE, calib=STREETS)
    gentle = replace(RECIPE, train=replace(RECIPE.train, epochs=12, learning_rate=1e-4))
    out = tmp_path / "net.safetensors"
    data = dataset_from_name(STREETS)
    record = train_network(gentle, out, data=data, start=outlying, change=rounding.change)
    assert record["qat"]["calib"] == STREETS and record["start"] == outlying.name
    assert list(checkpoint_from_file(out).network.state_dict()) == list(
        checkpoint_from_file(outlying).network.state_dict()
    )
    norms = [checkpoint_from_file(path).network.backbone.bn1.running_mean for path in (outlying, out)]
    assert torch.equal(*norms)
    after = miou_on_reference(files_of(out)[1])
    assert exact - before > 5, (exact, before)
    assert after - before > 0.4 * (exact - before), (exact, before, after)


@pytest.mark.slow
def test_fine_tuning_starts_at_a_checkpoint_and_records_what_it_rounds(outlying, tmp_path):
    out, data = tmp_path / "net.safetensors", dataset_from_name(STREETS)
    record = fine_tune(RECIPE, out, start=outlying, data=data, calib=STREETS, calib_images=2).record.to_json()
    assert len(record["epochs"]) == RECIPE.train.epochs // 8
    assert (record["qat"]["calib"], record["qat"]["images"], record["start"]) == (STREETS, 2, outlying.name)
    again = fine_tune(RECIPE, out, start=outlying, data=data, calib=STREETS, calib_images=2)
    assert again.record.to_json()["epochs"] == record["epochs"], "the same run has nothing left to train"
    with refused(BadInput, "12 of 12"):
        fine_tune(RECIPE, out, start=outlying, data=data, validation=data, calib=STREETS)


@pytest.mark.slow
def test_images_of_the_validation_set_are_refused(outlying):
    with refused(BadInput, "12 of 12", "street5_000000"):
        rounding_from_checkpoint(outlying, RECIPE, calib=STREETS, held_out=dataset_from_name(STREETS))


def test_plan_is_shorter_and_gentler():
    plan = recipe_for_int8(replace(RECIPE, train=replace(RECIPE.train, epochs=16, average=0.9))).train
    assert (plan.epochs, plan.learning_rate, plan.average) == (2, pytest.approx(4e-4), 0)
