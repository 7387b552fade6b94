"""Weights of other releases: loaded by key, equal in what they compute, and never half."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no checkpoint to test with")

from safetensors.torch import save_file  # noqa: E402 - needs torch

from fcn_edge.errors import BadInput  # noqa: E402
from fcn_edge.models.backbones import backbone_from_name, load_classifier  # noqa: E402
from fcn_edge.models.checkpoint import (  # noqa: E402
    checkpoint_from_file,
    network_from_recipe,
    save_checkpoint,
    state_from_file,
)
from fcn_edge.models.fcn import bilinear_deconvolution  # noqa: E402
from fcn_edge.registry import recipe_from_shelf  # noqa: E402
from tests.models.published import PytorchFCN, classifier, randomised, torchvision_fcn  # noqa: E402
from tests.refusals import refused  # noqa: E402

NARROW = 1 / 32
SAME_LOGITS = 1e-5  # of float32 sums in another order
WRAPPED = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model_state_dict": lambda state: {"model_state_dict": state, "arch": "FCN8s", "optim_state_dict": {}},
    "model": lambda state: {"model": state, "lr": 0.1},
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "both": lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
}


def narrow(name, **fields):
    """A recipe of the shelf with few channels."""
    recipe = recipe_from_shelf(name)
    return replace(recipe, network=replace(recipe.network, width=NARROW, **fields))


def frozen_kernel(classes, size, step):
    return bilinear_deconvolution(classes, step, padding=0)


def pytorch_fcn(step):
    torch.manual_seed(step)
    return randomised(PytorchFCN(step, frozen_kernel, NARROW))


def torchvision(depth=50, **options):
    torch.manual_seed(depth)
    return randomised(torchvision_fcn(f"fcn_resnet{depth}", NARROW, **options))


@pytest.fixture
def write(tmp_path):
    """Writes a state dict as a .pth file."""

    def write(state):
        torch.save(state, tmp_path / "net.pth")
        return tmp_path / "net.pth"

    return write


def assert_same_logits(path, recipe, published, size):
    network = checkpoint_from_file(path, recipe).network
    x = torch.randn(1, 3, *size)
    with torch.inference_mode():
        found, wanted = network(x), published(x)
    wanted = wanted if isinstance(wanted, torch.Tensor) else wanted[0]
    assert found.shape == wanted.shape == (1, 21, *size)
    assert (found - wanted).abs().max() <= SAME_LOGITS * wanted.abs().max()


@pytest.mark.parametrize("step", [32, 16, 8])
@pytest.mark.parametrize("size", [(64, 96), (71, 50)])
def test_weights_of_pytorch_fcn_give_its_logits(write, step, size):
    published = pytorch_fcn(step)
    path = write(published.state_dict())
    assert_same_logits(path, narrow(f"fcn{step}s_vgg16_pad100_voc"), published, size)


@pytest.mark.parametrize("depth", [50, 101])
def test_weights_of_torchvision_give_its_logits(write, depth):
    published = torchvision(depth)
    assert_same_logits(write(published.state_dict()), narrow(f"fcn_resnet{depth}_voc"), published, (64, 96))


def test_weights_of_torchvision_without_auxiliary_head_are_read_and_written(write, tmp_path):
    """torchvision builds none unless it is asked for."""
    published, recipe = torchvision(has_auxiliary=False), narrow("fcn_resnet50_voc")
    path = write(published.state_dict())
    assert_same_logits(path, recipe, published, (64, 96))
    loaded = checkpoint_from_file(path, recipe)
    assert len(loaded.network.training_logits(torch.zeros(2, 3, 64, 64))) == 1
    save_checkpoint(tmp_path / "own.safetensors", loaded.network, loaded.header)
    assert_same_logits(tmp_path / "own.safetensors", None, published, (64, 96))


@pytest.mark.slow
@pytest.mark.parametrize("wrapping", WRAPPED)
@pytest.mark.parametrize("kind", ["pytorch-fcn", "torchvision"])
def test_what_training_scripts_wrap_around_is_taken_off(write, wrapping, kind):
    published = torchvision() if kind == "torchvision" else pytorch_fcn(8)
    recipe = narrow("fcn_resnet50_voc" if kind == "torchvision" else "fcn8s_vgg16_pad100_voc")
    assert_same_logits(write(WRAPPED[wrapping](published.state_dict())), recipe, published, (64, 64))


def test_safetensors_of_another_release_is_read_with_a_recipe(tmp_path):
    published = pytorch_fcn(8)
    path = tmp_path / "net.safetensors"
    save_file(published.state_dict(), str(path))
    assert_same_logits(path, narrow("fcn8s_vgg16_pad100_voc"), published, (64, 64))
    assert set(state_from_file(path)) == set(published.state_dict())


def test_half_precision_weights_are_widened(write):
    published = pytorch_fcn(16).half()
    path = write(published.state_dict())
    assert_same_logits(path, narrow("fcn16s_vgg16_pad100_voc"), published.float(), (64, 64))


@pytest.mark.parametrize(
    ("recipe", "fix"),
    [("fcn8s_vgg16_voc", "fcn16s"), ("fcn8s_vgg16_pad100_voc", "fcn16s"), ("fcn8s_resnet34_voc", "fcn16s")],
)
def test_recipe_that_does_not_fit_pytorch_fcn_is_told_which_does(write, recipe, fix):
    """The geometry stands in no entry: with another one the same weights would be another network in silence."""
    path = write(pytorch_fcn(16).state_dict())
    with refused(BadInput, "net.pth", "pytorch-fcn", "FCN16s", f"{fix}_vgg16_pad100_voc"):
        checkpoint_from_file(path, narrow(recipe))


def test_last_layer_that_was_learned_is_not_left_out_in_silence(write):
    published = pytorch_fcn(8)
    torch.nn.init.normal_(published.upscore8.weight)
    path = write(published.state_dict())
    with refused(BadInput, "net.pth", "learn_last = true"):
        checkpoint_from_file(path, narrow("fcn8s_vgg16_pad100_voc"))
    assert_same_logits(path, narrow("fcn8s_vgg16_pad100_voc", learn_last=True), published, (64, 64))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"fc6.weight": None, "fc6.bias": None}, ("2 missing", "backbone.fc6.weight", "backbone.fc6.bias")),
        ({"score_pool2.weight": torch.zeros(1)}, ("1 unknown", "score_pool2.weight")),
        ({"score_fr.weight": torch.zeros(11, 128, 1, 1)}, ("score_fr.weight", "11x128x1x1", "21x128x1x1")),
    ],
    ids=["missing", "unknown", "shape"],
)
def test_half_of_a_network_is_refused_by_name(write, change, facts):
    state = {name: value for name, value in (pytorch_fcn(8).state_dict() | change).items() if value is not None}
    with refused(BadInput, "net.pth", *facts):
        checkpoint_from_file(write(state), narrow("fcn8s_vgg16_pad100_voc"))


@pytest.mark.parametrize("given", ["resnet50", "resnet101"])
def test_network_of_another_depth_or_width_is_refused_by_name(write, given):
    depth, recipe = int(given.removeprefix("resnet")), recipe_from_shelf("fcn_resnet50_voc")
    path = write(torchvision(depth).state_dict())
    with refused(BadInput, "net.pth", "backbone.conv1.weight", "2x3x7x7", "64x3x7x7"):
        checkpoint_from_file(path, recipe)
    if depth == 101:
        with refused(BadInput, "net.pth", "306 unknown", "backbone.layer3.6.conv1.weight"):
            checkpoint_from_file(path, narrow("fcn_resnet50_voc"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet18", "resnet101", "vgg16", "vgg19"])
@pytest.mark.parametrize("wrapping", WRAPPED)
def test_classifier_of_torchvision_is_read_from_its_file(write, name, wrapping):
    state = classifier(name, NARROW).state_dict()
    read, given = (backbone_from_name(name, width=NARROW) for _ in range(2))
    load_classifier(read, name, state_from_file(write(WRAPPED[wrapping](state))))
    load_classifier(given, name, state)
    for key, value in given.state_dict().items():
        assert torch.equal(read.state_dict()[key], value), key


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet50", "vgg16"])
@pytest.mark.parametrize("recipe", ["fcn8s_vgg16_voc", "fcn_resnet50_voc"])
def test_classifier_is_not_taken_for_a_network(write, name, recipe):
    path = write(classifier(name, NARROW).state_dict())
    with refused(BadInput, "net.pth", "ImageNet", "backbone"):
        checkpoint_from_file(path, narrow(recipe))


@pytest.mark.parametrize("kind", ["ours", "torchvision", "pytorch-fcn"])
def test_network_is_not_taken_for_a_classifier(kind):
    own = network_from_recipe(narrow("fcn8s_vgg16_voc").network, 21)
    states = {"ours": own, "torchvision": torchvision(), "pytorch-fcn": pytorch_fcn(8)}
    with pytest.raises(ValueError, match="FCN"):
        load_classifier(own.backbone, "vgg16", states[kind].state_dict())
