"""Second moments of what convolutions read, one image at a time: they tell how errors of weights add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcn_edge.onnxgraph import attributes

POSITIONS = 256  # of each image's output map, evenly spread: neighbours say the same
MAX_FAN_IN = 2304  # values that one output reads; beyond, the moments of one layer take more than 42 MB
AT_ONCE_MB = 256  # of moments in memory; more layers are taken in another pass over the images


@dataclass(frozen=True)
class Reading:
    """How a Conv reads its input: what two convolutions must share to share their moments.

    kernel, strides, dilations: (vertical, horizontal). pads: top, left, bottom, right.
    """

    tensor: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    groups: int

    def patches(self, x: np.ndarray) -> np.ndarray:
        """(groups, positions, fan-in) of one input (1, C, H, W): what some output positions read."""
        top, left, bottom, right = self.pads
        padded = np.pad(x[0], ((0, 0), (top, bottom), (left, right)))
        rows, columns = (
            np.arange(0, side - (kernel - 1) * dilation, stride)
            for side, kernel, dilation, stride in zip(padded.shape[1:], self.kernel, self.dilations, self.strides)
        )
        chosen = np.unique(np.linspace(0, rows.size * columns.size - 1, POSITIONS).astype(np.int64))
        down = rows[chosen // columns.size][:, None] + np.arange(self.kernel[0]) * self.dilations[0]
        across = columns[chosen % columns.size][:, None] + np.arange(self.kernel[1]) * self.dilations[1]
        read = padded[:, down[:, :, None], across[:, None, :]]  # (C, positions, kernel height, kernel width)
        grouped = read.reshape(self.groups, -1, chosen.size, *self.kernel)
        return grouped.transpose(0, 2, 1, 3, 4).reshape(self.groups, chosen.size, -1)


def reading_of(node: Any, weights: np.ndarray) -> Reading | None:
    """None for what is not a plain 2-D Conv, or reads too many values at once."""
    given = attributes(node)
    is_plain = weights.ndim == 4 and given.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    if not is_plain or int(np.prod(weights.shape[1:])) > MAX_FAN_IN:
        return None
    kernel: Any = weights.shape[2:]
    strides, dilations = (tuple(given.get(name, (1, 1))) for name in ("strides", "dilations"))
    pads: Any = tuple(given.get("pads", (0, 0, 0, 0)))
    return Reading(node.input[0], tuple(kernel), strides, dilations, pads, given.get("group", 1))


def batches_of(readings: Sequence[Reading], fan_in: Mapping[Reading, int]) -> list[list[Reading]]:
    """The readings in runs whose moments fit into memory together."""
    batches: list[list[Reading]] = [[]]
    filled = 0.0
    for reading in readings:
        size = reading.groups * fan_in[reading] ** 2 * 8 / 2**20
        if batches[-1] and filled + size > AT_ONCE_MB:
            batches.append([])
            filled = 0.0
        batches[-1].append(reading)
        filled += size
    return batches


def second_moments(
    readings: Sequence[Reading], inputs: Iterable[Mapping[str, np.ndarray]]
) -> dict[Reading, np.ndarray]:
    """Reading -> (groups, fan-in, fan-in) float64 means of products. inputs: tensors by name, image after image."""
    sums: dict[Reading, Any] = dict.fromkeys(readings, 0.0)
    seen = dict.fromkeys(readings, 0)
    for tensors in inputs:
        for reading in readings:
            patches = reading.patches(tensors[reading.tensor])
            sums[reading] = sums[reading] + (patches.transpose(0, 2, 1) @ patches).astype(np.float64)
            seen[reading] += patches.shape[1]
    return {reading: total / seen[reading] for reading, total in sums.items()}
