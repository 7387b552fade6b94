"""State dicts of other releases: what is wrapped around them, and their names under this package's.

torchvision's fcn_resnet50 and fcn_resnet101 have the names of `models.dilated`. pytorch-fcn
(https://github.com/wkentaro/pytorch-fcn) has the paper's, which are ours without "backbone.".
Of pytorch-fcn, FCN32s, FCN16s and FCN8s are meant. Its FCN8sAtOnce has the same entries, but
scales pool4 by 0.01 and pool3 by 0.0001 in code, which no entry tells: multiply score_pool4.weight
and score_pool3.weight by these factors first, or its skips count 100 and 10000 times too much.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fcn_edge.errors import BadInput
from fcn_edge.models.dilated import DilatedFCN
from fcn_edge.models.fcn import Segmenter

WRAPPERS = ("state_dict", "model_state_dict", "model")
PARALLEL = "module."  # what DataParallel puts before every name
LAST_OF_PYTORCH_FCN = {"upscore8.weight": 8, "upscore16.weight": 16, "upscore.weight": 32}


def unwrapped(loaded: object) -> object:
    """The state dict inside what a training script saved; anything else as it is."""
    if not isinstance(loaded, dict):
        return loaded
    inside = next((loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), dict)), loaded)
    if inside and all(isinstance(name, str) and name.startswith(PARALLEL) for name in inside):
        return {name.removeprefix(PARALLEL): value for name, value in inside.items()}
    return inside


def weights_for(network: Segmenter, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """`state` under the names of `network`, which loses its auxiliary head where `state` has none.

    Raises BadInput for weights of pytorch-fcn where the network's geometry or stride is another.
    """
    if isinstance(network, DilatedFCN) and not any(name.startswith("aux_classifier.") for name in state):
        network.aux_classifier = None
    step = next((step for name, step in LAST_OF_PYTORCH_FCN.items() if name in state), None)
    if step is None or "conv1_1.weight" not in state:
        return state
    if (network.geometry, network.score_stride) != ("pad100", step):
        raise BadInput(
            f"these are the weights of pytorch-fcn's FCN{step}s, made for the original geometry:"
            f' pass `recipe="fcn{step}s_vgg16_pad100_voc"`, or a recipe of your own like it'
        )
    return {f"backbone.{name}" if name.startswith(("conv", "fc")) else name: value for name, value in state.items()}
