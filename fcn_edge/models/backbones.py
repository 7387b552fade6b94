"""Classification backbones as the FCN paper uses them: convolutional stages, classifier included.

Every backbone yields three feature maps: `pool3` at stride 8, `pool4` at stride 16 and
`fr`, the last map before the class scores, at stride 32. Layer names are those of the
published weights, so that these load by key.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Features(NamedTuple):
    """(N, c, H/8, W/8), (N, c, H/16, W/16) and (N, c, H/32, W/32) float maps."""

    pool3: Tensor
    pool4: Tensor
    fr: Tensor


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
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.has_skip else y


# (expand, channels, blocks, stride, kernel). Source: Tan, Le, "EfficientNet", ICML 2019, table 1;
# EfficientNet-Lite keeps the first and last stage at width 32 and 1280 and drops squeeze-excite.
LITE0_STAGES = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip


class Backbone(nn.Module):
    """channels: of pool3, pool4 and fr."""

    channels: tuple[int, int, int]

    def forward(self, x: Tensor) -> Features:
        raise NotImplementedError


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0; skips are the ends of the 40- and 112-channel stages."""

    channels = (40, 112, 1280)

    def __init__(self) -> None:
        super().__init__()
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

    def forward(self, x: Tensor) -> Features:
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        maps = []
        for block in self._blocks:
            x = block(x)
            maps.append(x)
        fr = functional.relu6(self._bn1(self._conv_head(x)))
        return Features(maps[4], maps[10], fr)


class BasicBlock(nn.Module):
    """Residual block of ResNet-18/34 (He et al., CVPR 2016), named as in torchvision."""

    def __init__(self, inside: int, outside: int, step: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, step, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample: nn.Module | None = None
        if step != 1 or inside != outside:
            self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, step, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(Backbone):
    """ResNet-18; skips are the ends of layer2 (stride 8) and layer3 (stride 16)."""

    channels = (128, 256, 512)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        for number in range(1, 5):
            inside, outside = widths[number - 1], widths[number]
            first = BasicBlock(inside, outside, 1 if number == 1 else 2)
            self.add_module(f"layer{number}", nn.Sequential(first, BasicBlock(outside, outside, 1)))

    def forward(self, x: Tensor) -> Features:
        x = functional.relu(self.bn1(self.conv1(x)))
        maps = [functional.max_pool2d(x, 3, 2, 1)]
        for number in range(1, 5):
            maps.append(self.get_submodule(f"layer{number}")(maps[-1]))
        return Features(maps[2], maps[3], maps[4])


class VGG16(Backbone):
    """VGG-16 with fc6 and fc7 as convolutions (4096 channels), named as in the paper's release.

    `pad100`: conv1_1 pads by 100 and fc6 pads nothing, the original geometry, in which
    poolings round up; otherwise all layers pad "same", fc6 by 3.
    """

    channels = (256, 512, 4096)
    stages = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))

    def __init__(self, pad100: bool = False) -> None:
        super().__init__()
        self.pad100 = pad100
        inside = 3
        for stage, (width, count) in enumerate(self.stages, 1):
            for index in range(1, count + 1):
                padding = 100 if pad100 and (stage, index) == (1, 1) else 1
                setattr(self, f"conv{stage}_{index}", nn.Conv2d(inside, width, 3, 1, padding))
                inside = width
        wide = self.channels[2]
        self.fc6 = nn.Conv2d(inside, wide, 7, padding=0 if pad100 else 3)
        self.fc7 = nn.Conv2d(wide, wide, 1)

    def forward(self, x: Tensor) -> Features:
        pools = []
        for stage, (_, count) in enumerate(self.stages, 1):
            for index in range(1, count + 1):
                x = functional.relu(getattr(self, f"conv{stage}_{index}")(x))
            x = functional.max_pool2d(x, 2, 2, ceil_mode=self.pad100)
            pools.append(x)
        x = functional.dropout2d(functional.relu(self.fc6(x)), 0.5, self.training)
        x = functional.dropout2d(functional.relu(self.fc7(x)), 0.5, self.training)
        return Features(pools[2], pools[3], x)


def backbone_from_name(name: str, *, pad100: bool = False) -> Backbone:
    """A backbone with random weights: "efficientnet_lite0", "resnet18" or "vgg16"."""
    if name == "vgg16":
        return VGG16(pad100)
    return EfficientNetLite0() if name == "efficientnet_lite0" else ResNet18()


def classifier_weights(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published ImageNet classifier weights under this module's names, fc layers as convolutions.

    VGG: torchvision's `features.N` and `classifier.N` become conv and fc names; the fully
    connected matrices (4096, 512*7*7) and (4096, 4096) become kernels of 7x7 and 1x1.
    """
    if name != "vgg16" or not any(key.startswith("features.") for key in state):
        return {key: value for key, value in state.items() if not key.startswith(("_fc.", "fc."))}
    names, number = {}, 0
    for stage, (_, count) in enumerate(VGG16.stages, 1):
        for index in range(1, count + 1):
            names[f"features.{number}"] = f"conv{stage}_{index}"
            number += 2
        number += 1
    names |= {"classifier.0": "fc6", "classifier.3": "fc7"}
    mapped = {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value
              for key, value in state.items() if key.rpartition(".")[0] in names}  # fmt: skip
    mapped["fc6.weight"] = mapped["fc6.weight"].reshape(4096, 512, 7, 7)
    mapped["fc7.weight"] = mapped["fc7.weight"].reshape(4096, 4096, 1, 1)
    return mapped


def load_classifier(backbone: nn.Module, name: str, state: dict[str, Tensor]) -> None:
    """Load an ImageNet classifier's state dict. Raises ValueError naming keys that do not fit."""
    weights = classifier_weights(name, state)
    own = backbone.state_dict()
    wrong = [key for key in own if key not in weights or weights[key].shape != own[key].shape]
    wrong += [key for key in weights if key not in own]
    if wrong:
        raise ValueError(f"{len(wrong)} entries do not fit {name}, first {', '.join(wrong[:3])}")
    with torch.no_grad():
        backbone.load_state_dict(weights)
