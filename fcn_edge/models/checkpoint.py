"""Checkpoints: safetensors whose header holds the recipe and the spec, so that a file explains itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fcn_edge.errors import BadInput, first_line
from fcn_edge.files import json_from_text, require_file, sha256_of_file, whole_file
from fcn_edge.geometry import Sampling, stretch
from fcn_edge.models.fcn import FCN8s
from fcn_edge.schema import from_mapping, nearest, to_mapping
from fcn_edge.shelf import InputRecipe, NetworkRecipe, Recipe
from fcn_edge.spec import Head, ModelSpec, Preprocess

NETWORK_KEY = "fcn_edge.network"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


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

    network: FCN8s
    header: CheckpointHeader
    sha256: str


def is_checkpoint(path: Path) -> bool:
    """Whether the file name is one that checkpoints have."""
    return path.suffix.lower() in SUFFIXES


def network_from_recipe(recipe: NetworkRecipe, num_classes: int) -> FCN8s:
    """A network with random backbone, zero scores and bilinear upsampling."""
    return FCN8s(recipe.backbone, num_classes, geometry=recipe.geometry, learn_last=recipe.learn_last)


def header_from_recipe(
    recipe: Recipe, classes: tuple[str, ...], palette: tuple[tuple[int, int, int], ...], ignore_index: int
) -> CheckpointHeader:
    """The header of a network trained by `recipe` on these classes."""
    return CheckpointHeader(
        recipe.name, recipe.network, recipe.input, classes, palette, ignore_index, recipe.weights_terms
    )


def spec_from_header(header: CheckpointHeader, network: FCN8s, weights_sha256: str) -> ModelSpec:
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


def head_of_network(network: FCN8s, height: int, width: int) -> Head:
    """`scores` before a fixed last layer; `logits` behind a learned one, which sampling cannot replace."""
    if network.has_learned_last:
        return Head("logits", Sampling(stretch(height, height), stretch(width, width)))
    return Head("scores", network.score_sampling(height, width))


def save_checkpoint(path: Path, network: FCN8s, header: CheckpointHeader) -> None:
    """Write weights and header; whole or not at all."""
    tensors = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    data = save(tensors, metadata={NETWORK_KEY: json.dumps(to_mapping(header))})
    with whole_file(path) as part:  # safetensors' own save_file writes files that only their owner may read
        part.write_bytes(data)


def checkpoint_from_file(path: Path, recipe: Recipe | None = None) -> Checkpoint:
    """Load a checkpoint of ours (.safetensors), or a plain state dict where a recipe says what it is.

    Nothing in the file is executed: safetensors, or torch.load with weights_only.

    Raises:
        BadInput: no checkpoint, no header, code inside a pickle, weights of another network.
    """
    require_file(path, "a checkpoint (.safetensors)")
    if path.suffix.lower() == ".safetensors":
        state, header = _read_safetensors(path)
    else:
        state, header = state_from_file(path), None
    header = header or _header_for_foreign(path, recipe)
    with torch.device("meta"):  # no memory is spent on weights that are replaced at once
        network = network_from_recipe(header.network, len(header.classes))
    _load_strict(network, state, path)
    return Checkpoint(network.eval(), header, sha256_of_file(path))


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], CheckpointHeader | None]:
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


def state_from_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a plain state dict; nothing in the file is executed.

    Raises BadInput where it holds more than tensors, or is none.
    """
    import pickle
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are none of its own; the error below says it
            loaded = torch.load(str(path), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInput(
            f"{path}: this pickle holds more than tensors and may run code; it was not opened."
            " Save the state dict alone (torch.save(model.state_dict(), …)) or as .safetensors"
        ) from error
    except Exception as error:  # garbage makes its unpickler stumble in a dozen ways
        raise BadInput(f"{path}: not a checkpoint that PyTorch reads ({first_line(error)})") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise BadInput(f"{path}: expected a state dict (names to tensors), found {type(loaded).__name__}")
    return loaded


def _header_for_foreign(path: Path, recipe: Recipe | None) -> CheckpointHeader:
    from fcn_edge.data import camvid, voc

    if recipe is None:
        raise BadInput(f"{path}: says nothing of its network; name it with --recipe (see `fcn-edge models`)")
    known = {
        "camvid": (camvid.CLASSES, camvid.PALETTE, camvid.IGNORE),
        "voc": (voc.CLASSES, voc.voc_palette(), voc.IGNORE),
    }
    if recipe.network.classes not in known:
        raise BadInput(
            f"{recipe.name}: unknown classes {recipe.network.classes!r}{nearest(recipe.network.classes, known)}"
        )
    return header_from_recipe(recipe, *known[recipe.network.classes])


def _load_strict(network: FCN8s, state: dict[str, Tensor], path: Path) -> None:
    own = network.state_dict()
    missing = [name for name in own if name not in state]
    unknown = [name for name in state if name not in own]
    shaped = [name for name in own if name in state and own[name].shape != state[name].shape]
    if missing or unknown or shaped:
        parts = [f"{len(names)} {word} (first {names[0]})"
                 for names, word in ((missing, "missing"), (unknown, "unknown"), (shaped, "of another shape"))
                 if names]  # fmt: skip
        raise BadInput(f"{path}: these are not the weights of this network: {', '.join(parts)}")
    network.load_state_dict(state, assign=True)
