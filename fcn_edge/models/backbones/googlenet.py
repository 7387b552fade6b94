"""GoogLeNet (Szegedy et al., CVPR 2015) with batch normalisation, named as in torchvision."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcn_edge.models.backbones.base import Backbone, scaled

# Channels: 1x1; 3x3 reduced, 3x3; "5x5" reduced, "5x5"; pool projection. Source: table 1 of the paper.
INCEPTIONS = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}
POOLED_BY = {"inception3b": 3, "inception4e": 2}  # the kernel of the pooling behind


class BasicConv2d(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inside: int, outside: int, kernel: int, *, step: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, step, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outside, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Four branches side by side; widths as in INCEPTIONS.

    The paper's 5x5 convolution is 3x3, because the published weights are
    (https://github.com/pytorch/vision/issues/906).
    """

    def __init__(self, inside: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        one, three_reduced, three, five_reduced, five, pool = widths
        self.branch1 = BasicConv2d(inside, one, 1)
        self.branch2 = nn.Sequential(BasicConv2d(inside, three_reduced, 1), BasicConv2d(three_reduced, three, 3))
        self.branch3 = nn.Sequential(BasicConv2d(inside, five_reduced, 1), BasicConv2d(five_reduced, five, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), BasicConv2d(inside, pool, 1))
        self.channels = one + three + five + pool

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)), 1)


class GoogLeNet(Backbone):
    """GoogLeNet; skips are conv3 (stride 4), inception3b and inception4e, each before its pooling.

    Poolings round up, so that maps are exact fractions with the classifier's own paddings.
    """

    skip_layers: ClassVar = {4: "conv3", 8: "inception3b", 16: "inception4e"}
    classifier_head: ClassVar = ("fc.", "aux1.", "aux2.")

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        first, inside = scaled(64, width), scaled(192, width)
        self.conv1 = BasicConv2d(3, first, 7, step=2)
        self.conv2 = BasicConv2d(first, first, 1)
        self.conv3 = BasicConv2d(first, inside, 3)
        ends = {"conv3": inside}
        for name, widths in INCEPTIONS.items():
            block = Inception(inside, tuple(scaled(channels, width) for channels in widths))
            self.add_module(name, block)
            ends[name] = inside = block.channels
        self.channels = {**{step: ends[name] for step, name in self.skip_layers.items()}, 32: inside}

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        x = functional.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)
        x = conv3 = self.conv3(self.conv2(x))  # (N, 192, H/4, W/4)
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        ends = {"conv3": conv3}
        for name in INCEPTIONS:
            x = ends[name] = self.get_submodule(name)(x)
            if name in POOLED_BY:
                x = functional.max_pool2d(x, POOLED_BY[name], 2, ceil_mode=True)
        return {**{step: ends[name] for step, name in self.skip_layers.items()}, 32: x}
