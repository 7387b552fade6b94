"""Checkpoints: safetensors whose header holds the recipe and the spec, so that a file explains itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fcn_edge.atomic_io import json_from_text, require_file, sha256_of_file, whole_file
from fcn_edge.data import class_set
from fcn_edge.errors import BadInput, first_line
from fcn_edge.geometry import Sampling, stretch
from fcn_edge.models.dilated import DilatedFCN
from fcn_edge.models.fcn import FCN, Segmenter
from fcn_edge.models.published import unwrapped, weights_for
from fcn_edge.models.state_dict import fitted, is_classifier
from fcn_edge.registry import InputRecipe, NetworkRecipe, Recipe
from fcn_edge.schema import from_mapping, to_mapping
from fcn_edge.spec import Head, ModelSpec, Preprocess

NETWORK_KEY = "fcn_edge.network"


@dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint says of itself beside its weights."""

    name: str
    network: NetworkRecipe
    input: InputRecipe
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int
    weights_terms: str = ""
    schema: int = 1


@dataclass(frozen=True)
class Checkpoint:
    """A network in evaluation mode with its header and the hash of its file."""

    network: Segmenter
    header: CheckpointHeader
    sha256: str


def network_from_recipe(recipe: NetworkRecipe, num_classes: int) -> Segmenter:
    """A network with random backbone, zero scores and bilinear upsampling; in torchvision's form random heads.

    Raises BadInput for what the form or the backbone has not.
    """
    if recipe.form == "torchvision":
        if (recipe.stride, recipe.fuse, recipe.geometry, recipe.learn_last) != (8, "sum", "same", False):
            raise BadInput('form "torchvision" has stride 8 and no skips: leave stride, fuse, geometry, learn_last out')
        return DilatedFCN(recipe.backbone, num_classes, width=recipe.width)
    return FCN(
        recipe.backbone,
        num_classes,
        score_stride=recipe.stride,
        fuse=recipe.fuse,
        geometry=recipe.geometry,
        learn_last=recipe.learn_last,
        width=recipe.width,
    )


def header_from_recipe(
    recipe: Recipe, classes: tuple[str, ...], palette: tuple[tuple[int, int, int], ...], ignore_index: int
) -> CheckpointHeader:
    """The header of a network trained by `recipe` on these classes."""
    return CheckpointHeader(
        recipe.name, recipe.network, recipe.input, classes, palette, ignore_index, recipe.weights_terms
    )


def spec_from_header(header: CheckpointHeader, network: Segmenter, weights_sha256: str) -> ModelSpec:
    """The contract of the network at its recipe's input size, with the head that loses nothing."""
    given = header.input
    preprocess = Preprocess(given.height, given.width, given.mean, given.std, given.channels, given.resize)
    return ModelSpec(
        name=header.name,
        classes=header.classes,
        palette=header.palette,
        ignore_index=header.ignore_index,
        preprocess=preprocess,
        head=head_of_network(network, *preprocess.size),
        weights_sha256=weights_sha256,
        weights_terms=header.weights_terms,
        recipe=header.name,
    )


def head_of_network(network: Segmenter, height: int, width: int) -> Head:
    """`scores` before a fixed last layer; `logits` behind a learned one, which sampling cannot replace."""
    if network.has_learned_last:
        return Head("logits", Sampling(stretch(height, height), stretch(width, width)))
    return Head("scores", network.score_sampling(height, width))


def save_checkpoint(path: Path, network: Segmenter, header: CheckpointHeader) -> None:
    """Write weights and header; whole or not at all."""
    tensors = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    data = save(tensors, metadata={NETWORK_KEY: json.dumps(to_mapping(header))})
    with whole_file(path) as part:  # safetensors' own save_file writes files that only their owner may read
        part.write_bytes(data)


def checkpoint_from_file(path: Path, recipe: Recipe | None = None) -> Checkpoint:
    """Load a checkpoint of ours (.safetensors), or a plain state dict where a recipe says what it is.

    A plain state dict may be ours, torchvision's or pytorch-fcn's (see `models.published`).
    Nothing in the file is executed: safetensors, or torch.load with weights_only.

    Raises:
        BadInput: no checkpoint, no header, code inside a pickle, weights of another network.
    """
    require_file(path, "a checkpoint (.safetensors)")
    state, header = _read_file(path)
    header = header or _header_for_foreign(path, recipe)
    with torch.device("meta"):  # no memory is spent on weights that are replaced at once
        network = network_from_recipe(header.network, len(header.classes))
    try:
        _load(network, state)
    except (ValueError, BadInput) as error:
        raise BadInput(f"{path}: {error}") from error
    return Checkpoint(network.eval(), header, sha256_of_file(path))


def with_same_padding(checkpoint: Checkpoint) -> Checkpoint:
    """The same weights in a network that pads every map by itself, instead of the frame by 100 and crops.

    The border of a picture is then seen otherwise, so its accuracy is another's. Raises BadInput where the network
    is no pad-100 one.
    """
    header = checkpoint.header
    if header.network.geometry != "pad100":
        raise BadInput(f"{header.name}: pads by itself already; same padding replaces the original pad-100-and-crop")
    changed = replace(header, name=f"{header.name}_same", network=replace(header.network, geometry="same"))
    with torch.device("meta"):
        network = network_from_recipe(changed.network, len(changed.classes))
    network.load_state_dict(checkpoint.network.state_dict(), assign=True)
    return Checkpoint(network.eval(), changed, checkpoint.sha256)


def state_from_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a plain state dict or a .safetensors file; nothing in the file is executed.

    What training scripts wrap around a state dict is taken off.
    Raises BadInput where it holds more than tensors, or is none.
    """
    return _read_file(path)[0]


def _read_file(path: Path) -> tuple[dict[str, Tensor], CheckpointHeader | None]:
    state, header = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else (_read_pickle(path), None)
    state = unwrapped(state)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadInput(f"{path}: expected a state dict (names to tensors), found {type(state).__name__}")
    return state, header


def _read_safetensors(path: Path) -> tuple[object, CheckpointHeader | None]:
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path}: not a safetensors file ({first_line(error)})") from error
    if NETWORK_KEY not in metadata:
        return state, None
    where = f"{path}: header"
    return state, from_mapping(CheckpointHeader, json_from_text(metadata[NETWORK_KEY], where), where)


def _read_pickle(path: Path) -> object:
    import pickle
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are none of its own; the error below says it
            return torch.load(str(path), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInput(
            f"{path}: this pickle holds more than tensors and may run code; it was not opened."
            " Save the state dict alone (torch.save(model.state_dict(), …)) or as .safetensors"
        ) from error
    except Exception as error:  # garbage makes its unpickler stumble in a dozen ways
        raise BadInput(f"{path}: not a checkpoint that PyTorch reads ({first_line(error)})") from error


def _header_for_foreign(path: Path, recipe: Recipe | None) -> CheckpointHeader:
    if recipe is None:
        raise BadInput(f"{path}: says nothing of its network; name it with `recipe` (see `fcn-edge models`)")
    return header_from_recipe(recipe, *class_set(recipe.network.classes, of=recipe.name))


def _load(network: Segmenter, state: dict[str, Tensor]) -> None:
    """Give `network` its weights. Raises ValueError or BadInput where they are another network's."""
    weights = weights_for(network, state)
    try:
        weights = fitted(network.state_dict(), weights)
    except ValueError as error:
        if is_classifier(state):
            raise ValueError(
                "these are the weights of an ImageNet classifier, not of an FCN; pass them to `train` as `backbone`"
            ) from error
        raise ValueError(f"these are not the weights of this network: {error}") from error
    network.load_state_dict(weights, assign=True)
    if not network.has_last_as_declared():
        raise ValueError(
            "its last layer is learned, not bilinear: set learn_last = true in the recipe, or it would be left out"
        )
