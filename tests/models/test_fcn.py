"""FCN-8s: sizes and costs as published, layers as in the paper, logits of the input's size."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no network to test with")

from fcn_edge.errors import BadInput  # noqa: E402
from fcn_edge.models.fcn import (  # noqa: E402 - needs torch
    FCN,
    bilinear_deconvolution,
    bilinear_kernel,
    multiply_accumulates,
    padded,
)
from fcn_edge.models.summary import network_summaries  # noqa: E402
from tests.refusals import refused  # noqa: E402

BACKBONES = ("alexnet", "efficientnet_lite0", "googlenet", "resnet50", "vgg19")


def on_meta(backbone, classes, **options):
    """Shapes without weights: a VGG-16 costs neither memory nor time."""
    with torch.device("meta"):
        return FCN(backbone, classes, **options).eval()


@pytest.mark.parametrize(
    ("backbone", "classes", "millions"),
    [("vgg16", 21, 134.49), ("efficientnet_lite0", 11, 3.43), ("resnet18", 11, 11.22), ("alexnet", 21, 57.22)],
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


@pytest.mark.slow
def test_summaries_cover_the_shelf():
    rows = {row["name"]: row for row in network_summaries()}
    assert round(rows["fcn8s_vgg16_voc"]["parameters"] / 1e6, 2) == 134.49
    assert round(rows["fcn8s_vgg16_voc"]["gmac"], 2) == 71.74
    assert rows["fcn8s_vgg16_pad100_voc"]["gmac"] > rows["fcn8s_vgg16_voc"]["gmac"], "a border of 100 is not free"
    assert all(row["parameters"] > 1e6 and row["gmac"] > 0.1 for row in rows.values())
    assert rows["fcn4s_lite0_camvid"]["skips"] == [f"_blocks.{index}._expand_conv" for index in (11, 5, 3)]
    assert rows["fcn16s_vgg16_voc"]["skips"] == ["pool4"] and rows["fcn32s_vgg16_voc"]["skips"] == []
    assert {row["stride"] for row in rows.values()} == {4, 8, 16, 32}


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
    network = FCN("resnet18", 4).eval()
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


@pytest.mark.parametrize("backbone", ["vgg16", "vgg19"])
@pytest.mark.parametrize("size", [(96, 64), (33, 77), (500, 375), (1, 1)])
def test_original_geometry_takes_any_size(backbone, size):
    network = on_meta(backbone, 5, geometry="pad100")
    assert network(torch.zeros(1, 3, *size, device="meta")).shape == (1, 5, *size)


@pytest.mark.parametrize(("size", "wide"), [((64, 96), (64, 96)), ((65, 1), (96, 32)), ((360, 480), (384, 480))])
def test_padding_is_below_and_right_in_the_mean_colour(size, wide):
    x = torch.ones(1, 3, *size)
    padded_x = padded(x, "same")
    assert padded_x.shape[2:] == wide
    assert (padded_x[:, :, : size[0], : size[1]] == 1).all() and padded_x.sum() == x.sum()
    assert padded(x, "pad100") is x


@pytest.mark.parametrize(("backbone", "stride"), [("alexnet", 8), ("resnet50", 8), ("vgg16", 4)])
def test_original_geometry_is_of_vgg_at_the_papers_strides(backbone, stride):
    with refused(BadInput, "pad100", backbone, stride):
        on_meta(backbone, 5, geometry="pad100", score_stride=stride)
