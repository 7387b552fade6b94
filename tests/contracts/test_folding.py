"""Leaving out the last deconvolution changes no class: direct sampling of the score map is the network.

Held for both geometries against PyTorch's ConvTranspose2d, and for the bilinear resize that ends
torchvision's form. At a border a deconvolution scales all classes alike, so the arg-max stays,
while the logits do not; the resize is sampled exactly.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_edge.geometry import Sampling, stride
from fcn_edge.transforms import class_map_from_scores

torch = pytest.importorskip("torch", reason="torch is not installed: no network to test with")

from fcn_edge.models.dilated import DilatedFCN  # noqa: E402 - needs torch
from fcn_edge.models.fcn import FCN, bilinear_deconvolution, padded  # noqa: E402

TIE = 1e-4  # of scores near 1: closer than this, the order of float32 sums decides
PADDINGS = [("same", 32), ("same", 16), ("same", 8), ("same", 4), ("pad100", 32), ("pad100", 16), ("pad100", 8)]


def randomised(network):
    """The network with random weights of unit gain, so that its scores vary."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                torch.nn.init.normal_(layer.bias, std=0.1)
    return network.eval()


@pytest.fixture(scope="module", params=[*PADDINGS, "torchvision"])
def network(request):
    """A narrow FCN on VGG-16 in both geometries at each stride, and torchvision's form on ResNet-50."""
    torch.manual_seed(3)
    if request.param == "torchvision":
        return randomised(DilatedFCN("resnet50", 5, width=1 / 16))
    geometry, step = request.param
    return randomised(FCN("vgg16", 5, geometry=geometry, score_stride=step, width=1 / 16))


def assert_same_classes(logits, class_map):
    """Equal wherever the best class of (C, H, W) logits stands out."""
    ordered = np.sort(logits, axis=0)
    clear = ordered[-1] - ordered[-2] > TIE * np.abs(ordered).max()
    np.testing.assert_array_equal(class_map[clear], logits.argmax(0)[clear])
    assert clear.mean() > 0.5, "almost everything is a tie: the test says nothing"


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(2, 21), st.integers(1, 7), st.integers(1, 7))
def test_sampling_a_stride_8_map_is_the_fixed_deconvolution(seed, classes, rows, columns):
    scores = np.random.default_rng(seed).standard_normal((classes, rows, columns), np.float32)
    with torch.inference_mode():
        logits = bilinear_deconvolution(classes, 8, padding=4)(torch.from_numpy(scores)[None])[0].numpy()
    sampling = Sampling(stride(8 * rows, 8), stride(8 * columns, 8))
    assert_same_classes(logits, class_map_from_scores(scores, sampling))


@given(st.integers(0, 2**32 - 1), st.integers(2, 21), st.integers(1, 7), st.integers(1, 7))
def test_sampling_a_stride_8_map_is_the_half_pixel_resize(seed, classes, rows, columns):
    """What ends torchvision's form: `interpolate` with align_corners=False, equal up to the border."""
    scores = np.random.default_rng(seed).standard_normal((classes, rows, columns), np.float32)
    size = (8 * rows, 8 * columns)
    logits = torch.nn.functional.interpolate(torch.from_numpy(scores)[None], size, mode="bilinear")[0].numpy()
    assert_same_classes(logits, class_map_from_scores(scores, Sampling(stride(size[0], 8), stride(size[1], 8))))


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(33, 110), st.integers(33, 110), st.integers(0, 2**32 - 1))
def test_network_at_any_size_is_its_sampled_scores(network, height, width, seed):
    pixels = np.random.default_rng(seed).standard_normal((1, 3, height, width), np.float32)
    with torch.inference_mode():
        wide = padded(torch.from_numpy(pixels), network.geometry)
        scores, logits = network.scores(wide)[0].numpy(), network(wide)[0, :, :height, :width].numpy()
    assert logits.shape == (5, height, width)
    assert_same_classes(logits, class_map_from_scores(scores, network.score_sampling(height, width)))
