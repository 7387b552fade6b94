"""Classification backbones as the FCN paper uses them, by name, and the weights that exist for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from fcn_edge.errors import BadInput
from fcn_edge.models.backbones.alexnet import AlexNet
from fcn_edge.models.backbones.base import Backbone, Padding
from fcn_edge.models.backbones.googlenet import GoogLeNet
from fcn_edge.models.backbones.lite import EfficientNetLite0
from fcn_edge.models.backbones.resnet import DEPTHS, ResNet
from fcn_edge.models.backbones.vgg import VGG16, VGG19
from fcn_edge.models.state_dict import fitted, is_fcn
from fcn_edge.schema import nearest


def _symmetric(build: Callable[[float], Backbone]) -> Callable[[Padding, float], Backbone]:
    """One whose own paddings give exact fractions: "same" and "classifier" are one, "pad100" there is not."""
    return lambda padding, width: build(width)


BACKBONES: dict[str, Callable[[Padding, float], Backbone]] = {
    "alexnet": AlexNet,
    "efficientnet_lite0": EfficientNetLite0,
    "googlenet": _symmetric(GoogLeNet),
    **{f"resnet{depth}": _symmetric(partial(ResNet, depth)) for depth in DEPTHS},
    "vgg16": VGG16,
    "vgg19": VGG19,
}


def backbone_from_name(name: str, padding: Padding = "same", width: float = 1.0) -> Backbone:
    """A backbone with random weights; width is a factor of the channels of all its layers.

    Raises BadInput for an unknown name, or a width that the backbone cannot have.
    """
    if name not in BACKBONES:
        raise BadInput(f"{name}: no such backbone{nearest(name, BACKBONES)}")
    if not width > 0:
        raise BadInput(f"width {width:g} of {name}: must be above 0; the published network has 1")
    return BACKBONES[name](padding, width)


def classifier_weights(backbone: Backbone, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published ImageNet classifier weights under the backbone's names, fc layers as convolutions.

    Of VGG and AlexNet the fully connected matrices, such as (4096, 512 * 7 * 7), become kernels
    of 7x7 (6x6) and 1x1. The last layer, which scores ImageNet's classes, is left out.
    """
    own, names, weights = backbone.state_dict(), backbone.classifier_layers(), {}
    for key, value in state.items():
        if key.startswith(backbone.classifier_head):
            continue
        layer, _, kind = key.rpartition(".")
        name = f"{names.get(layer, layer)}.{kind}"
        is_matrix = name in own and value.ndim == 2 and value.numel() == own[name].numel()
        weights[name] = value.reshape(own[name].shape) if is_matrix else value
    return weights


def load_classifier(backbone: Backbone, name: str, state: dict[str, Tensor]) -> None:
    """Load an ImageNet classifier's state dict by key.

    Raises ValueError naming the entries that do not fit `name`, or saying that they are an FCN's.
    """
    try:
        weights = fitted(backbone.state_dict(), classifier_weights(backbone, state))
    except ValueError as error:
        if is_fcn(state):
            raise ValueError(
                "these are the weights of an FCN, not of an ImageNet classifier; give them to `export`, with"
                " `recipe` where the file says nothing of its network"
            ) from error
        raise ValueError(f"do not fit {name}: {error}") from error
    with torch.no_grad():
        backbone.load_state_dict(weights)
