"""EfficientNet-Lite: inverted residuals with ReLU6 and no attention, kind to INT8."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcn_edge.models.backbones.base import Backbone


class LiteBlock(nn.Module):
    """Inverted residual of EfficientNet-Lite: expand 1x1, depthwise, project 1x1; ReLU6, no attention."""

    def __init__(self, inside: int, outside: int, expand: int, kernel: int, step: int) -> None:
        super().__init__()
        wide = inside * expand
        if expand != 1:
            self._expand_conv = nn.Conv2d(inside, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3, momentum=0.01)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, step, kernel // 2, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3, momentum=0.01)
        self._project_conv = nn.Conv2d(wide, outside, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outside, eps=1e-3, momentum=0.01)
        self.has_expand, self.has_skip = expand != 1, step == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.has_expand:
            y = functional.relu6(self._bn0(self._expand_conv(y)))
        y = functional.relu6(self._bn1(self._depthwise(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.has_skip else y

    def _depthwise(self, x: Tensor) -> Tensor:
        """In float32 where PyTorch's bf16 gradient on CPUs is several times slower: 5x5, and stride 2."""
        layer = self._depthwise_conv
        is_slow = layer.kernel_size[0] == 5 or layer.stride[0] == 2
        if not (is_slow and x.dtype == torch.bfloat16):
            return layer(x)
        with torch.autocast(x.device.type, enabled=False):
            return layer(x.float())


# (expand, channels, blocks, stride, kernel). Source: Tan, Le, "EfficientNet", ICML 2019, table 1;
# EfficientNet-Lite keeps the first and last stage at width 32 and 1280 and drops squeeze-excite.
LITE0_STAGES = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0; skips are the ends of the 24-, 40- and 112-channel stages."""

    skip_layers: ClassVar = {4: "_blocks.2", 8: "_blocks.4", 16: "_blocks.10"}

    def __init__(self) -> None:
        super().__init__()
        self.channels = {4: 24, 8: 40, 16: 112, 32: 1280}
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3, momentum=0.01)
        blocks, inside = [], 32
        for expand, outside, count, step, kernel in LITE0_STAGES:
            for index in range(count):
                blocks.append(LiteBlock(inside, outside, expand, kernel, step if index == 0 else 1))
                inside = outside
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(320, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        maps = []
        for block in self._blocks:
            x = block(x)
            maps.append(x)
        fr = functional.relu6(self._bn1(self._conv_head(x)))
        return {4: maps[2], 8: maps[4], 16: maps[10], 32: fr}
