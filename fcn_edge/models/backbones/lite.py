"""EfficientNet-Lite: inverted residuals with ReLU6 and no attention, kind to INT8.

Where a layer of stride 2 pads decides where its cells look. The classifier was trained with the
odd row of padding behind (TensorFlow's "same"), and its shifts add up to half a cell of 32 pixels.
"same" pads the 3x3 layers of stride 2 evenly instead: there a shift goes the other way, and every
map lies within a quarter of a cell of where the geometry says it does.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcn_edge.errors import BadInput
from fcn_edge.models.backbones.base import Backbone, Padding, SummingBlock


def _pads(kernel: int, step: int, is_even: bool) -> tuple[int, int]:
    """(before, behind) along each side; of stride 2 and not even, the odd one is behind."""
    half = kernel // 2
    return (half, half) if step == 1 or is_even else (half - 1, half)


class LiteBlock(SummingBlock):
    """Inverted residual of EfficientNet-Lite: expand 1x1, depthwise, project 1x1; ReLU6, no attention."""

    def __init__(self, inside: int, outside: int, expand: int, kernel: int, step: int, *, is_even: bool) -> None:
        super().__init__()
        wide = inside * expand
        if expand != 1:
            self._expand_conv = nn.Conv2d(inside, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3, momentum=0.01)
        before, behind = _pads(kernel, step, is_even)
        self.border = None if before == behind else (before, behind, before, behind)
        inner = 0 if self.border else before
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, step, inner, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3, momentum=0.01)
        self._project_conv = nn.Conv2d(wide, outside, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outside, eps=1e-3, momentum=0.01)
        self.has_expand, self.has_skip = expand != 1, step == 1 and inside == outside

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(what the depthwise layer reads, what leaves the block)."""
        wide = functional.relu6(self._bn0(self._expand_conv(x))) if self.has_expand else x
        y = functional.relu6(self._bn1(self._depthwise(wide)))
        y = self._bn2(self._project_conv(y))
        return wide, self.add(x, y) if self.has_skip else y

    def _depthwise(self, x: Tensor) -> Tensor:
        """In float32 where PyTorch's bf16 gradient on CPUs is several times slower: 5x5, and stride 2."""
        layer = self._depthwise_conv
        if self.border:
            x = functional.pad(x, self.border)
        is_slow = layer.kernel_size[0] == 5 or layer.stride[0] == 2
        if not (is_slow and x.dtype == torch.bfloat16):
            return layer(x)
        with torch.autocast(x.device.type, enabled=False):
            return layer(x.float())


# (expand, channels, blocks, stride, kernel). Source: Tan, Le, "EfficientNet", ICML 2019, table 1;
# EfficientNet-Lite keeps the first and last stage at width 32 and 1280 and drops squeeze-excite.
LITE0_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0.

    Skips score what the depthwise layer of each stride reads: six times as wide as a stage's end,
    computed anyway, and behind a ReLU6, so that INT8 has no sign to spend. Of `padding`,
    "classifier" is the trained one (see above). Raises BadInput for a width other than 1.
    """

    skip_layers: ClassVar = {4: "_blocks.3._expand_conv", 8: "_blocks.5._expand_conv", 16: "_blocks.11._expand_conv"}

    def __init__(self, padding: Padding = "same", width: float = 1.0) -> None:
        super().__init__()
        if width != 1:
            raise BadInput(f"efficientnet_lite0 has width 1 only, found {width:g}: leave `width` out of the recipe")
        self.channels = {4: 144, 8: 240, 16: 672, 32: 1280}
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, 0, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3, momentum=0.01)
        blocks, inside = [], 32
        for expand, outside, count, step, kernel in LITE0_STAGES:
            is_even = padding != "classifier" and kernel == 3
            for index in range(count):
                first = step if index == 0 else 1
                blocks.append(LiteBlock(inside, outside, expand, kernel, first, is_even=is_even))
                inside = outside
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(320, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        x = functional.relu6(self._bn0(self._conv_stem(functional.pad(x, (0, 1, 0, 1)))))
        wide = []
        for block in self._blocks:
            read, x = block(x)
            wide.append(read)
        fr = functional.relu6(self._bn1(self._conv_head(x)))
        return {4: wide[3], 8: wide[5], 16: wide[11], 32: fr}
