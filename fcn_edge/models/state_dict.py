"""Whether a state dict holds the weights of a network, and in words what does not fit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

NAMED = 3  # entries of each kind; the rest is counted
COUNTER = "num_batches_tracked"


def fitted(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`given` as weights of a network whose state is `own`: complete, nothing left over, of its types.

    Batch counters, which weights saved before PyTorch 0.4.1 lack, are added.
    Raises ValueError naming the entries that are missing, unknown or of another shape.
    """
    counters = {name: torch.zeros((), dtype=torch.long) for name in own if name.rpartition(".")[2] == COUNTER}
    weights = counters | dict(given)
    missing = [name for name in own if name not in weights]
    unknown = [name for name in weights if name not in own]
    reshaped = [
        f"{name} ({_shape(weights[name])}, not {_shape(own[name])})"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    kinds = {"missing": missing, "unknown": unknown, "of another shape": reshaped}
    wrong = [f"{len(names)} {kind}: {_first(names)}" for kind, names in kinds.items() if names]
    if wrong:
        raise ValueError("; ".join(wrong))
    return {name: value.to(own[name].dtype) for name, value in weights.items()}


def is_classifier(state: Mapping[str, Tensor]) -> bool:
    """Whether it ends in fully connected layers: FCNs have none, ImageNet classifiers do."""
    return any(name.endswith("weight") and value.ndim == 2 for name, value in state.items())


def is_fcn(state: Mapping[str, Tensor]) -> bool:
    """Whether it has score layers, or a backbone as one part among others."""
    return any(name.startswith(("backbone.", "score_")) for name in state)


def _first(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "one number"
