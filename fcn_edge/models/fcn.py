"""FCN-32s, 16s, 8s: a classifier made convolutional, 1x1 score layers, learnable upsampling, skips.

Source: Shelhamer, Long, Darrell, "Fully Convolutional Networks for Semantic Segmentation",
PAMI 2017, section 4. Layers keep the paper's names. FCN-4s is our own: one more skip, from
pool2, for what is too thin for cells of 8 pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcn_edge.errors import BadInput
from fcn_edge.geometry import PAD100_LAST_CROP, Axis, Sampling, pad100, stride
from fcn_edge.models.backbones import backbone_from_name
from fcn_edge.models.backbones.base import Backbone

STRIDE = 32
Fuse = Literal["sum", "concat"]
POOL = {16: "pool4", 8: "pool3", 4: "pool2"}  # stride -> the paper's name of the skip
LAST = {32: "upscore", 16: "upscore16", 8: "upscore8", 4: "upscore4"}
BILINEAR_TOLERANCE = 1e-3  # of weights up to 1, for files that were kept in half precision
PAD100_CROP = {16: 5, 8: 9}  # cells between the padded map's edge and the deeper scores' edge


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


class Segmenter(nn.Module):
    """A network from normalised pixels to a score map, and from there to logits.

    geometry: "same" (sides are multiples of 32, every map is an exact fraction) or "pad100" (any
    size). score_stride: input pixels a cell of the score map.
    """

    backbone: Backbone
    geometry: str = "same"
    score_stride: int
    has_learned_last = False

    @property
    def skip_names(self) -> tuple[str, ...]:
        """Layers of the backbone that skips score, the deepest first."""
        return ()

    def has_last_as_declared(self) -> bool:
        """Whether a last layer that is said to be fixed holds bilinear interpolation, which sampling replaces."""
        return True

    def scores(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised -> (N, C, H / score_stride, W / score_stride)."""
        raise NotImplementedError

    def training_logits(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) logits, and those of auxiliary heads that only training looks at."""
        return (self(x),)

    def score_axis(self, pixels: int) -> Axis:
        """Input pixel -> cell of `scores`, along one side of `pixels`."""
        return stride(pixels, self.score_stride)

    def score_sampling(self, height: int, width: int) -> Sampling:
        """Input pixel -> cell of `scores`."""
        return Sampling(self.score_axis(height), self.score_axis(width))


class FCN(Segmenter):
    """FCN-32s, 16s, 8s or 4s (`score_stride`) on a backbone of this package.

    fuse: "sum" adds a skip's scores to the upsampled ones, as the paper does; "concat" scores the
    skip's features and the upsampled scores together, starting where "sum" starts.
    geometry "pad100": the original's; conv1_1 pads 100, maps are cropped. The last deconvolution
    is fixed bilinear unless `learn_last`. width: of the backbone, 1.0 as published.
    Raises BadInput for a geometry or a width that the backbone has not.
    """

    def __init__(
        self,
        backbone: str,
        classes: int,
        *,
        score_stride: int = 8,
        fuse: Fuse = "sum",
        geometry: str = "same",
        learn_last: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if geometry == "pad100" and (not backbone.startswith("vgg") or score_stride == 4):
            raise BadInput(f"geometry pad100 is VGG's, at strides 32, 16 and 8; found {backbone}, {score_stride}")
        self.geometry, self.score_stride, self.fuse = geometry, score_stride, fuse
        self.has_learned_last = learn_last
        self.backbone = backbone_from_name(backbone, "pad100" if geometry == "pad100" else "same", width)
        deeper = ["upscore2"] + [f"upscore_{pool}" for pool in POOL.values()]
        self.skips = [
            (step, up, f"score_{pool}")
            for (step, pool), up in zip(POOL.items(), deeper, strict=False)
            if step >= score_stride
        ]
        same = geometry == "same"
        self.score_fr = nn.Conv2d(self.backbone.channels[32], classes, 1)
        nn.init.zeros_(self.score_fr.weight)
        nn.init.zeros_(self.score_fr.bias)  # type: ignore[arg-type]
        for step, upscore, score in self.skips:
            self.add_module(upscore, bilinear_deconvolution(classes, 2, padding=1 if same else 0))
            self.add_module(score, _skip_score(self.backbone.channels[step], classes, fuse))
        last = bilinear_deconvolution(classes, score_stride, padding=score_stride // 2 if same else 0)
        last.weight.requires_grad_(learn_last)
        self.add_module(LAST[score_stride], last)

    @property
    def skip_names(self) -> tuple[str, ...]:
        return tuple(self.backbone.skip_layers[step] for step, _, _ in self.skips)

    def has_last_as_declared(self) -> bool:
        if self.has_learned_last:
            return True
        weight = self.get_parameter(f"{LAST[self.score_stride]}.weight")
        fixed = torch.zeros_like(weight)
        fixed[range(len(fixed)), range(len(fixed))] = bilinear_kernel(2 * self.score_stride).to(weight)
        return torch.allclose(weight, fixed, atol=BILINEAR_TOLERANCE)

    def scores(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised -> (N, C, H / s, W / s) fused scores (pad100: a few cells more)."""
        maps = self.backbone(x)
        fused: Tensor = self.score_fr(maps[32])
        for step, upscore, score in self.skips:
            deep, layer = self.get_submodule(upscore)(fused), self.get_submodule(score)
            skip = self._aligned(maps[step], step, deep)  # cropped before it is scored: what is cut off costs nothing
            fused = layer(torch.cat((deep, skip), 1)) if self.fuse == "concat" else deep + layer(skip)
        return fused

    def _aligned(self, x: Tensor, step: int, like: Tensor) -> Tensor:
        return _crop(x, PAD100_CROP[step], like) if self.geometry == "pad100" else x

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised -> (N, C, H, W) logits."""
        logits = self.get_submodule(LAST[self.score_stride])(self.scores(x))
        return _crop(logits, PAD100_LAST_CROP[self.score_stride], x) if self.geometry == "pad100" else logits

    def score_axis(self, pixels: int) -> Axis:
        if self.geometry == "pad100":
            return pad100(pixels, self.score_stride)
        return stride(pixels, self.score_stride)


def _skip_score(channels: int, classes: int, fuse: Fuse) -> nn.Conv2d:
    """Scores of a skip, all zero at first; for "concat" it also passes the upsampled scores through."""
    layer = nn.Conv2d(channels + (classes if fuse == "concat" else 0), classes, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()  # type: ignore[union-attr]
        if fuse == "concat":
            layer.weight[range(classes), range(classes)] = 1.0
    return layer


def _crop(x: Tensor, offset: int, like: Tensor) -> Tensor:
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]


def padded(x: Tensor, geometry: str) -> Tensor:
    """Bottom and right padding (mean colour) to a multiple of 32, which "same" geometry needs."""
    bottom, right = -x.shape[2] % STRIDE, -x.shape[3] % STRIDE
    if geometry == "pad100" or not (bottom or right):  # a padding of nothing would still be a node when traced
        return x
    return functional.pad(x, (0, right, 0, bottom))


def multiply_accumulates(network: Segmenter, height: int, width: int) -> int:
    """Multiply-accumulates of convolutions and deconvolutions for one (height, width) input."""
    total = 0

    def count(layer: nn.Module, _: object, out: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):
            kernel = layer.weight.shape[0] * layer.weight[0, 0].numel()
            total += out.numel() * kernel // (layer.stride[0] * layer.stride[1])
        elif isinstance(layer, nn.Conv2d):
            total += out.numel() * layer.weight[0].numel()

    hooks = [
        layer.register_forward_hook(count)
        for layer in network.modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, height, width, device=next(network.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return total
