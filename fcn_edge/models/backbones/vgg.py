"""VGG with its classifier layers turned into convolutions, as the FCN paper does it."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from fcn_edge.models.backbones.base import Backbone, Padding, scaled

STAGE_WIDTHS = (64, 128, 256, 512, 512)


class VGG(Backbone):
    """VGG with fc6 and fc7 as convolutions (4096 channels), named as in the paper's release.

    counts: convolutions of each stage. Padding "pad100": conv1_1 pads by 100 and poolings round
    up, the original geometry. Only "same" pads fc6 (by 3).
    Source: Simonyan, Zisserman, "Very Deep Convolutional Networks", ICLR 2015, table 1.
    """

    counts: ClassVar[tuple[int, ...]]
    skip_layers: ClassVar = {4: "pool2", 8: "pool3", 16: "pool4"}
    classifier_head: ClassVar = ("classifier.6.",)

    def __init__(self, padding: Padding = "same", width: float = 1.0) -> None:
        super().__init__()
        self.rounds_up = padding == "pad100"
        widths, wide = [scaled(channels, width) for channels in STAGE_WIDTHS], scaled(4096, width)
        self.channels = {4: widths[1], 8: widths[2], 16: widths[3], 32: wide}
        inside = 3
        for stage, (outside, count) in enumerate(zip(widths, self.counts), 1):
            for index in range(1, count + 1):
                border = 100 if padding == "pad100" and (stage, index) == (1, 1) else 1
                setattr(self, f"conv{stage}_{index}", nn.Conv2d(inside, outside, 3, 1, border))
                inside = outside
        self.fc6 = nn.Conv2d(inside, wide, 7, padding=3 if padding == "same" else 0)
        self.fc7 = nn.Conv2d(wide, wide, 1)

    def classifier_layers(self) -> dict[str, str]:
        """torchvision counts every layer: a convolution and its ReLU are two, a pooling is one."""
        names, place = {"classifier.0": "fc6", "classifier.3": "fc7"}, 0
        for stage, count in enumerate(self.counts, 1):
            names |= {f"features.{place + 2 * index}": f"conv{stage}_{index + 1}" for index in range(count)}
            place += 2 * count + 1
        return names

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        pools = []
        for stage, count in enumerate(self.counts, 1):
            for index in range(1, count + 1):
                x = functional.relu(getattr(self, f"conv{stage}_{index}")(x))
            x = functional.max_pool2d(x, 2, 2, ceil_mode=self.rounds_up)
            pools.append(x)
        x = functional.dropout2d(functional.relu(self.fc6(x)), 0.5, self.training)
        x = functional.dropout2d(functional.relu(self.fc7(x)), 0.5, self.training)
        return {4: pools[1], 8: pools[2], 16: pools[3], 32: x}


class VGG16(VGG):
    """Configuration D of the paper: 13 convolutions before fc6."""

    counts: ClassVar = (2, 2, 3, 3, 3)


class VGG19(VGG):
    """Configuration E of the paper: 16 convolutions before fc6."""

    counts: ClassVar = (2, 2, 4, 4, 4)
