"""Training with INT8's rounding in the network, so that its weights learn to live with it.

Where a calibrated file rounds, the network rounds: inputs of convolutions and of residual sums at the
file's scales, weights to 127 steps of each output channel's largest. Gradients pass as if nothing
were rounded, but for values beyond the ends. Batch norms keep their statistics: per-channel rounding
of the weights is the same before they are folded as after.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 3; straight-through gradients: Bengio et al., 2013.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fcn_edge.calibration import images_from_source, quantized_model, table_from_images
from fcn_edge.calibration.images import require_disjoint
from fcn_edge.calibration.quantize import LARGEST, SMALLEST_SCALE
from fcn_edge.data import Dataset
from fcn_edge.engines import EngineOptions, engine_on_target
from fcn_edge.engines.base import Engine
from fcn_edge.engines.ort import Taps
from fcn_edge.engines.pyt import TorchEngine
from fcn_edge.engines.reference_check import agreement_of
from fcn_edge.errors import BadInput, CheckFailed
from fcn_edge.experimental.pairs import QdqPair, pairs_from_onnx
from fcn_edge.exporting import onnx_from_checkpoint
from fcn_edge.models.backbones.base import SummingBlock
from fcn_edge.models.checkpoint import Checkpoint, checkpoint_from_file
from fcn_edge.models.fcn import Segmenter
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import Recipe
from fcn_edge.schema import to_mapping
from fcn_edge.training import Trained, train
from fcn_edge.training.fine_tuning import NetworkChange
from fcn_edge.training.settings import require_settings
from fcn_edge.transforms import input_from_frame

EPOCHS_SHARE, RATE_SHARE = 8, 10  # of the recipe's epochs and learning rate, so many times fewer
MIN_CLOSER_DB = 6.0
MIN_EQUAL_INTEGERS = 0.99  # 0.9998 of right ones, 0.72 and less where one scale is 5 % off
Pairs = dict[str, tuple[QdqPair, ...]]  # node of the Q/DQ file -> pairs in front of it


@dataclass(frozen=True)
class IntegerCheck:
    """How near a rounding network is to its file. farthest: the convolution that reads most other integers.

    closer_db: of the scores, than those of the float network are. agreement: share of equal pixels.
    """

    farthest: str
    equal_integers: float
    closer_db: float
    agreement: float


@dataclass(frozen=True)
class Int8Rounding:
    """Where and how finely to round, what of, and that it is what the calibrated file does."""

    pairs: Pairs
    calib: str
    images: int
    table_sha256: str
    held: IntegerCheck

    @property
    def change(self) -> NetworkChange:
        """The rounding as a change of the network that training begins with."""

        def apply(network: Segmenter) -> None:
            round_network(network, self.pairs)

        return NetworkChange("qat", self.table_sha256, apply, self.facts)

    @property
    def facts(self) -> dict[str, Any]:
        """For the record of a run."""
        return {
            "calib": self.calib,
            "images": self.images,
            "table_sha256": self.table_sha256,
            "places": len(self.pairs),
            **to_mapping(self.held),
        }


def fine_tune(
    recipe: Recipe,
    out: Path,
    *,
    start: Path,
    data: Dataset,
    calib: str,
    calib_images: int | None = None,
    validation: Dataset | None = None,
    allow_overlap: bool = False,
    progress: Progress = SILENT,
) -> Trained:
    """Train on from `start` with INT8's rounding in the network; export and calibrate the result as any other.

    Args:
        recipe: of `start`; an eighth of its epochs are trained, at a tenth of its rate.
        calib: images that the scales come from: folder, glob, video, data set or TOML. calib_images: how many [100].
        validation: keep the best on this set. allow_overlap: calibration images may be in it.

    Returns:
        As `fcn_edge.training.train`, with what was rounded as change "qat" of the record.

    Raises:
        BadInput, CheckFailed: as `rounding_from_checkpoint` and `fcn_edge.training.train`.
    """
    gentle = recipe_for_int8(recipe)
    held_out = None if allow_overlap else validation
    rounding = rounding_from_checkpoint(
        start, gentle, calib=calib, count=calib_images, held_out=held_out, progress=progress
    )
    return train(gentle, data=data, out=out, val=validation, start=start, change=rounding.change, progress=progress)


def recipe_for_int8(recipe: Recipe) -> Recipe:
    """The recipe's plan, gentler and shorter: an eighth of the epochs, a tenth of the rate, no moving average."""
    settings = require_settings(recipe)
    epochs = max(1, round(settings.epochs / EPOCHS_SHARE))
    gentler = replace(
        settings,
        epochs=epochs,
        learning_rate=settings.learning_rate / RATE_SHARE,
        full_size_epochs=min(settings.full_size_epochs, epochs),
        average=0.0,
    )
    return replace(recipe, train=gentler)


def rounding_from_checkpoint(
    start: Path,
    recipe: Recipe,
    *,
    calib: str,
    count: int | None = None,
    held_out: Dataset | None = None,
    progress: Progress = SILENT,
) -> Int8Rounding:
    """Export and calibrate `start` in a folder of its own, and see that the network rounds as that file does.

    held_out: a set that none of the images may be in.

    Raises:
        BadInput: `start` is no checkpoint of this recipe, or images that cannot be or are in `held_out`.
        CheckFailed: the rounding network is not the file's.
    """
    given = checkpoint_from_file(start)
    if (given.header.network, given.header.input) != (recipe.network, recipe.input):
        raise BadInput(f"{start}: is a {given.header.name}, not a {recipe.name}; training goes on by the recipe it has")
    images = images_from_source(calib, count)
    if held_out is not None:
        require_disjoint({image.name: image.sha256() for image in images.images}, held_out)
    exact, _ = onnx_from_checkpoint(start)
    table = table_from_images(exact, images, progress=progress)
    file = quantized_model(exact, precision="int8", table=table).model
    pairs = pairs_from_onnx(file)
    picture = next(image for image in images.images if image.name in table.images)
    held = held_to_file(given, pairs, start, file, picture.read())
    return Int8Rounding(pairs, calib, len(table.images), table.sha256, held)


def held_to_file(
    given: Checkpoint, pairs: Pairs, start: Path, given_file: OnnxModel | Path, frame: np.ndarray
) -> IntegerCheck:
    """Make the network of `given` round at `pairs`, and compare it with the file's reference run on one picture.

    Raises CheckFailed where the two are not the same network.
    """
    file = OnnxModel.of(given_file)
    with (
        engine_on_target(file, "reference", EngineOptions()) as reference,
        TorchEngine(start, EngineOptions(), given) as own,
    ):
        price = agreement_of(own, reference, [frame])
        round_network(given.network, pairs)
        found = agreement_of(own, reference, [frame])
        x = input_from_frame(frame, own.spec.preprocess)
        shares = _equal_integers(given.network, pairs, file, own, x)
    node = min(shares, key=lambda name: shares[name])
    closer = (found.sqnr_db or 0.0) - (price.sqnr_db or 0.0)
    if shares[node] < MIN_EQUAL_INTEGERS or closer < MIN_CLOSER_DB:
        raise CheckFailed(
            f"{start}: rounded in training it is not its INT8 file: {100 * shares[node]:.1f} % of the integers into"
            f" {node} are equal (at least {100 * MIN_EQUAL_INTEGERS:g}), and its scores are {closer:.1f} dB nearer to"
            f" the file's than those of fp32 (at least {MIN_CLOSER_DB:g}); nothing was trained"
        )
    return IntegerCheck(node, shares[node], closer, found.agreement)


def _equal_integers(
    network: Segmenter, pairs: Pairs, file: OnnxModel, engine: Engine, x: np.ndarray
) -> dict[str, float]:
    """Node -> share of what its convolution reads, zeros in both left out, that are the file's integers.

    Every convolution then goes on with the file's, so that one that differs does not make all behind it differ.
    """
    convolutions = {node: own[0] for node, own in pairs.items() if len(own) == 1}
    tensors = [pair.tensor for pair in convolutions.values()]
    taps = Taps(file.tapped(tensors), file.path.name)
    wanted, shares, hooks = taps.run(x), dict[str, float](), []
    if engine.spec.preprocess.channels == "rgb":  # the file takes BGR
        first = next(iter(convolutions.values())).tensor
        wanted = {**wanted, first: np.ascontiguousarray(wanted[first][:, ::-1])}

    def swap(node: str, pair: QdqPair, layer: nn.Module, read: tuple[Tensor]) -> Tensor:
        own, theirs = torch.round(rounded(read[0], pair) / pair.scale), torch.zeros_like(read[0])
        given = torch.from_numpy(wanted[pair.tensor]).float() - pair.zero
        rows, columns = given.shape[2:]
        top, left = (own.shape[2] - rows) // 2, (own.shape[3] - columns) // 2  # a border of zeros is the file's own
        theirs[:, :, top : top + rows, left : left + columns] = given
        counted = (theirs != 0) | (own != 0)
        shares[node] = float((theirs == own)[counted].float().mean()) if counted.any() else 1.0
        return theirs * pair.scale

    for node, pair in convolutions.items():
        layer = network.get_submodule(_module_path(node))
        hooks.append(layer.register_forward_pre_hook(functools.partial(swap, node, pair)))
    engine.infer(x)
    for hook in hooks:
        hook.remove()
    return shares


def round_network(network: Segmenter, pairs: Pairs) -> None:
    """Make `network` round at `pairs`, in place. Its state dict keeps its keys and values."""
    for node, own in pairs.items():
        path = _module_path(node)
        layer = network.get_submodule(path)
        if isinstance(layer, nn.Conv2d) and len(own) == 1:
            _replace(network, path, RoundedConv2d(layer, own[0]))
        elif isinstance(layer, SummingBlock) and len(own) == 2:
            layer.add = functools.partial(_rounded_sum, own)
        else:
            raise CheckFailed(f"{node}: is rounded in INT8, and {type(layer).__name__} does not know how to")
    for path, layer in list(network.named_modules()):
        if isinstance(layer, nn.BatchNorm2d):
            _replace(network, path, FrozenBatchNorm2d(layer))


def _replace(network: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, layer)


def _module_path(node: str) -> str:
    """Dotted path in the network of a node such as /backbone/layer1/layer1.0/conv1/Conv.

    There a Sequential's name stands in its parts' as well.
    """
    path: list[str] = []
    for part in node.strip("/").split("/")[:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path).removeprefix("network.")


class RoundedConv2d(nn.Conv2d):
    """A convolution of rounded maps with rounded weights, as a Q/DQ file has it."""

    def __init__(self, layer: nn.Conv2d, pair: QdqPair) -> None:
        """With the parameters of `layer`, not copies of them."""
        shape: tuple[Any, Any, Any, Any] = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        has_bias = layer.bias is not None
        super().__init__(layer.in_channels, layer.out_channels, *shape, layer.groups, has_bias, device="meta")
        self.weight, self.bias, self.pair = layer.weight, layer.bias, pair
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        weights = rounded_weights(self.weight)
        x = rounded(x, self.pair)
        return functional.conv2d(x, weights, self.bias, self.stride, self.padding, self.dilation, self.groups)


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """A batch norm whose statistics stay as they are, whatever the network around it does."""

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        """With the parameters and statistics of `layer`, not copies of them."""
        super().__init__(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        self.weight, self.bias = layer.weight, layer.bias
        self.running_mean, self.running_var = layer.running_mean, layer.running_var
        self.num_batches_tracked = layer.num_batches_tracked
        self.eval()

    def train(self, mode: bool = True) -> FrozenBatchNorm2d:
        return super().train(False)


def _rounded_sum(pairs: tuple[QdqPair, QdqPair], x: Tensor, y: Tensor) -> Tensor:
    return rounded(x, pairs[0]) + rounded(y, pairs[1])


def rounded(x: Tensor, pair: QdqPair) -> Tensor:
    """float32 of the same shape: what a Q/DQ pair leaves."""
    return torch.fake_quantize_per_tensor_affine(x.float(), pair.scale, 0, *pair.ends)


def rounded_weights(weights: Tensor) -> Tensor:
    """Weights (O, ...) at 127 steps of each output channel's largest magnitude, either way."""
    scales = (weights.detach().abs().flatten(1).amax(1) / LARGEST).clamp(min=SMALLEST_SCALE)
    zeros = torch.zeros(len(scales), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weights, scales, zeros, 0, -LARGEST, LARGEST)
