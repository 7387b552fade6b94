"""AlexNet with its classifier layers turned into convolutions, as the FCN paper does it."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from fcn_edge.models.backbones.base import Backbone, Padding, scaled

# Left, right, top, bottom of "same" padding: kernels of even size or uneven stride have no middle.
BEFORE_CONV1 = (4, 3, 4, 3)
BEFORE_FC6 = (3, 2, 3, 2)


class AlexNet(Backbone):
    """The one-tower AlexNet that torchvision has weights for, fc6 and fc7 as convolutions; the paper's layer names.

    Padding "same": conv1 and fc6 are padded to a whole number of steps and poolings round up, so
    that every map is an exact fraction of the input; the last one lies 2.5 pixels beside its cells'
    centres. "classifier": torchvision's own paddings, fc6 unpadded.
    Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
    """

    skip_layers: ClassVar = {4: "conv1", 8: "pool1", 16: "pool2"}
    classifier_head: ClassVar = ("classifier.6.",)

    def __init__(self, padding: Padding = "same", width: float = 1.0) -> None:
        super().__init__()
        self.is_same = padding == "same"
        first, second, third, fourth, wide = (scaled(c, width) for c in (64, 192, 384, 256, 4096))
        self.channels = {4: first, 8: first, 16: second, 32: wide}
        self.conv1 = nn.Conv2d(3, first, 11, 4, 0 if self.is_same else 2)
        self.conv2 = nn.Conv2d(first, second, 5, 1, 2)
        self.conv3 = nn.Conv2d(second, third, 3, 1, 1)
        self.conv4 = nn.Conv2d(third, fourth, 3, 1, 1)
        self.conv5 = nn.Conv2d(fourth, fourth, 3, 1, 1)
        self.fc6 = nn.Conv2d(fourth, wide, 6)
        self.fc7 = nn.Conv2d(wide, wide, 1)

    def classifier_layers(self) -> dict[str, str]:
        convolutions = {f"features.{place}": f"conv{number}" for number, place in enumerate((0, 3, 6, 8, 10), 1)}
        return {**convolutions, "classifier.1": "fc6", "classifier.4": "fc7"}

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        conv1 = functional.relu(self.conv1(self._padded(x, BEFORE_CONV1)))  # (N, 64, H/4, W/4)
        pool1 = self._pooled(conv1)  # (N, 64, H/8, W/8)
        pool2 = self._pooled(functional.relu(self.conv2(pool1)))  # (N, 192, H/16, W/16)
        x = functional.relu(self.conv3(pool2))
        x = functional.relu(self.conv4(x))
        x = self._pooled(functional.relu(self.conv5(x)))  # (N, 256, H/32, W/32)
        x = functional.relu(self.fc6(self._padded(x, BEFORE_FC6)))
        x = functional.dropout2d(x, 0.5, self.training)
        x = functional.dropout2d(functional.relu(self.fc7(x)), 0.5, self.training)
        return {4: conv1, 8: pool1, 16: pool2, 32: x}

    def _padded(self, x: Tensor, border: tuple[int, ...]) -> Tensor:
        return functional.pad(x, border) if self.is_same else x

    def _pooled(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(x, 3, 2, ceil_mode=self.is_same)
