"""ResNet (He et al., CVPR 2016), named as in torchvision."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from fcn_edge.models.backbones.base import Backbone, SummingBlock, scaled


class Residual(SummingBlock):
    """The sum of `branch` and its input; a 1x1 convolution fits the input where step or channels change."""

    def __init__(self, inside: int, outside: int, step: int) -> None:
        super().__init__()
        self.downsample: nn.Module | None = None
        if step != 1 or inside != outside:
            self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, step, bias=False), nn.BatchNorm2d(outside))

    def branch(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, outside, H / step, W / step), before the sum."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.add(self.branch(x), x if self.downsample is None else self.downsample(x)))


class BasicBlock(Residual):
    """Two 3x3 convolutions: ResNet-18 and 34."""

    expansion = 1

    def __init__(self, inside: int, planes: int, step: int, dilation: int) -> None:
        super().__init__(inside, planes, step)
        self.conv1 = nn.Conv2d(inside, planes, 3, step, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def branch(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))


class Bottleneck(Residual):
    """1x1, 3x3, 1x1 with four times the channels: ResNet-50 and 101. The step is the 3x3's, as in torchvision."""

    expansion = 4

    def __init__(self, inside: int, planes: int, step: int, dilation: int) -> None:
        super().__init__(inside, planes * self.expansion, step)
        self.conv1 = nn.Conv2d(inside, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, step, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)

    def branch(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


# Layers -> block, blocks of each stage. Source: table 1 of the paper.
DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(Backbone):
    """ResNet-18, 34, 50 or 101; skips are the ends of layer1 (stride 4), layer2 and layer3.

    dilated: layer3 and layer4 keep the stride of layer2 and dilate instead, so that the maps
    named 16 and 32 lie at stride 8 too.
    """

    skip_layers: ClassVar = {4: "layer1", 8: "layer2", 16: "layer3"}

    def __init__(self, depth: int, width: float = 1.0, *, dilated: bool = False) -> None:
        super().__init__()
        block, counts = DEPTHS[depth]
        inside, dilation = scaled(64, width), 1
        self.conv1 = nn.Conv2d(3, inside, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.channels = {}
        for number, count in enumerate(counts, 1):
            planes, step = scaled(32 * 2**number, width), 1 if number == 1 else 2
            before = dilation  # of a dilated stage the first block still has the dilation of the stage before
            if dilated and number > 2:
                dilation, step = dilation * step, 1
            blocks = [block(inside, planes, step, before)]
            inside = planes * block.expansion
            blocks += [block(inside, planes, 1, dilation) for _ in range(1, count)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            self.channels[2 * 2**number] = inside

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool2d(x, 3, 2, 1)
        maps = {}
        for number in range(1, 5):
            maps[2 * 2**number] = x = self.get_submodule(f"layer{number}")(x)
        return maps
