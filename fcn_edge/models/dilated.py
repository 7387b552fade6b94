"""torchvision's FCN: a dilated ResNet scored at stride 8, without skips and without deconvolutions.

Source: torchvision.models.segmentation.fcn_resnet50 and fcn_resnet101; layers keep its names, so
that its state dicts load by key.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from fcn_edge.errors import BadInput
from fcn_edge.models.backbones.resnet import DEPTHS, ResNet
from fcn_edge.models.fcn import Segmenter

DILATED = {f"resnet{depth}": depth for depth in DEPTHS}


class DilatedFCN(Segmenter):
    """A head on layer4 of a ResNet that keeps stride 8, resized bilinearly to the input.

    aux_classifier, a second head on layer3, is for training only; None where the weights lack it.
    Raises BadInput for a backbone that is no ResNet.
    """

    score_stride = 8

    def __init__(self, backbone: str, classes: int, *, width: float = 1.0) -> None:
        super().__init__()
        if backbone not in DILATED:
            raise BadInput(f'form "torchvision" is for {", ".join(DILATED)}; found {backbone}')
        self.backbone = ResNet(DILATED[backbone], width, dilated=True)
        self.classifier = _head(self.backbone.channels[32], classes)
        self.aux_classifier: nn.Module | None = _head(self.backbone.channels[16], classes)

    def scores(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised -> (N, C, H / 8, W / 8)."""
        scores: Tensor = self.classifier(self.backbone(x)[32])
        return scores

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised -> (N, C, H, W) logits."""
        return _resized(self.scores(x), x)

    def training_logits(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) logits of the head, and those of the auxiliary one where there is one."""
        maps = self.backbone(x)
        logits = _resized(self.classifier(maps[32]), x)
        if self.aux_classifier is None:
            return (logits,)
        return logits, _resized(self.aux_classifier(maps[16]), x)


def _head(inside: int, classes: int) -> nn.Sequential:
    wide = max(1, inside // 4)
    return nn.Sequential(
        nn.Conv2d(inside, wide, 3, padding=1, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Conv2d(wide, classes, 1),
    )


def _resized(scores: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(scores, like.shape[2:], mode="bilinear", align_corners=False)
