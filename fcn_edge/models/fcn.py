"""FCN-8s: a classifier made convolutional, 1x1 score layers, learnable upsampling, summed skips.

Source: Shelhamer, Long, Darrell, "Fully Convolutional Networks for Semantic Segmentation",
PAMI 2017, section 4. Layers keep the paper's names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcn_edge.geometry import Sampling, pad100_stride8, stride
from fcn_edge.models.backbones import backbone_from_name

STRIDE = 32
SCORE_STRIDE = 8


def bilinear_kernel(size: int) -> Tensor:
    """(size, size) weights of bilinear interpolation, as the paper initialises deconvolutions."""
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 == 1 else factor - 0.5
    line = 1 - (torch.arange(size) - centre).abs() / factor
    return line[:, None] * line[None, :]


def bilinear_deconvolution(classes: int, factor: int, *, padding: int) -> nn.ConvTranspose2d:
    """x`factor` upsampling, kernel 2 * factor, one bilinear kernel a class, no bias."""
    layer = nn.ConvTranspose2d(classes, classes, 2 * factor, factor, padding, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(classes), range(classes)] = bilinear_kernel(2 * factor)
    return layer


class FCN8s(nn.Module):
    """FCN-8s on a backbone of this package.

    geometry "same": inputs are multiples of 32 and every map is an exact fraction of them.
    geometry "pad100": the original's, any size; conv1_1 pads 100, maps are cropped.
    The last deconvolution is fixed bilinear unless `learn_last`.
    """

    def __init__(self, backbone: str, classes: int, *, geometry: str = "same", learn_last: bool = False) -> None:
        super().__init__()
        self.geometry = geometry
        self.backbone = backbone_from_name(backbone, pad100=geometry == "pad100")
        pool3, pool4, fr = self.backbone.channels
        same = geometry == "same"
        self.score_fr = nn.Conv2d(fr, classes, 1)
        self.score_pool4 = nn.Conv2d(pool4, classes, 1)
        self.score_pool3 = nn.Conv2d(pool3, classes, 1)
        self.upscore2 = bilinear_deconvolution(classes, 2, padding=1 if same else 0)
        self.upscore_pool4 = bilinear_deconvolution(classes, 2, padding=1 if same else 0)
        self.upscore8 = bilinear_deconvolution(classes, 8, padding=4 if same else 0)
        self.upscore8.weight.requires_grad_(learn_last)
        self.has_learned_last = learn_last
        for layer in (self.score_fr, self.score_pool4, self.score_pool3):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def scores(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised -> (N, C, H/8, W/8) fused scores (pad100: a few cells more)."""
        pool3, pool4, fr = self.backbone(x)
        upscore2 = self.upscore2(self.score_fr(fr))  # (N, C, H/16, W/16)
        score_pool4 = self.score_pool4(pool4)
        if self.geometry == "pad100":
            score_pool4 = _crop(score_pool4, 5, upscore2)
        upscore_pool4 = self.upscore_pool4(upscore2 + score_pool4)  # (N, C, H/8, W/8)
        score_pool3 = self.score_pool3(pool3)
        if self.geometry == "pad100":
            score_pool3 = _crop(score_pool3, 9, upscore_pool4)
        return upscore_pool4 + score_pool3

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised -> (N, C, H, W) logits."""
        logits = self.upscore8(self.scores(x))
        return _crop(logits, 31, x) if self.geometry == "pad100" else logits

    def score_sampling(self, height: int, width: int) -> Sampling:
        """Input pixel -> cell of `scores`."""
        axis = pad100_stride8 if self.geometry == "pad100" else lambda n: stride(n, SCORE_STRIDE)
        return Sampling(axis(height), axis(width))


def _crop(x: Tensor, offset: int, like: Tensor) -> Tensor:
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]


def padded(x: Tensor, geometry: str) -> Tensor:
    """Bottom and right padding (mean colour) to a multiple of 32, which "same" geometry needs."""
    bottom, right = -x.shape[2] % STRIDE, -x.shape[3] % STRIDE
    if geometry == "pad100" or not (bottom or right):  # a padding of nothing would still be a node when traced
        return x
    return functional.pad(x, (0, right, 0, bottom))


def multiply_accumulates(network: FCN8s, height: int, width: int) -> int:
    """Multiply-accumulates of convolutions and deconvolutions for one (height, width) input."""
    total = 0

    def count(layer: nn.Module, _: object, out: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):
            kernel = layer.weight.shape[0] * layer.weight[0, 0].numel()
            total += out.numel() * kernel // (layer.stride[0] * layer.stride[1])
        elif isinstance(layer, nn.Conv2d):
            total += out.numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in network.modules()
             if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]  # fmt: skip
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, height, width, device=network.score_fr.weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    return total
