"""What every backbone yields: the maps that an FCN scores, by stride."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

# same: maps are exact fractions of an input whose sides are multiples of 32. pad100: the border of
# 100 pixels of the original VGG. classifier: the paddings that the classifier was trained with.
Padding = Literal["same", "pad100", "classifier"]


class Backbone(nn.Module):
    """A classifier without its last layer; layer names are those of the published weights.

    channels: stride (4, 8, 16, 32) -> channels of the map there; 32 is `fr`, the last map
    before the class scores. skip_layers: stride -> the layer whose output a skip scores.
    classifier_head: how the entries of a classifier begin that a backbone has no use for.
    """

    channels: dict[int, int]
    skip_layers: ClassVar[dict[int, str]]
    classifier_head: ClassVar[tuple[str, ...]] = ("fc.", "_fc.")

    def classifier_layers(self) -> dict[str, str]:
        """torchvision's name of a layer -> its name here, where the two differ."""
        return {}

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """(N, 3, H, W) normalised -> stride -> (N, channels[stride], H / stride, W / stride)."""
        raise NotImplementedError


class SummingBlock(nn.Module):
    """A block that ends in the sum of two maps. add: sums them; training for INT8 has it round both before."""

    add: Callable[[Tensor, Tensor], Tensor] = staticmethod(torch.add)


def scaled(channels: int, width: float) -> int:
    """Channels of a layer in a network of this width (1.0 is the published one), at least one."""
    return max(1, round(channels * width))
