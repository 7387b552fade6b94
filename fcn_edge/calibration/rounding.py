"""Weights rounded one input after another, what each rounding loses made up for by the inputs still to come.

Rounding to the nearest is best for each weight and not for their sum: inputs of a convolution are
correlated, so one weight's error can be taken back by the next.
"""

from __future__ import annotations

import numpy as np

LARGEST = 127  # weights are symmetric int8
SMALLEST_SCALE = 1e-8  # what is always zero still needs a scale
DAMPING = 0.01  # of the mean moment: inputs that are nearly alike leave the inverse without a value


def scales_of(weights: np.ndarray) -> np.ndarray:
    """(O,) float32 steps of weights (O, ...): each output channel's largest magnitude is integer 127."""
    largest = np.abs(weights.reshape(len(weights), -1)).max(1)
    return np.asarray(np.maximum(largest / np.float32(LARGEST), np.float32(SMALLEST_SCALE)))


def in_steps(weights: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Weights (O, ...) in units of their channel's scale (O,)."""
    return np.asarray(weights / scales.reshape(-1, *[1] * (weights.ndim - 1)))


def nearest(weights: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """int8 of the same shape. weights: (O, ...); scales: (O,) float32 steps."""
    return np.rint(in_steps(weights, scales)).clip(-LARGEST, LARGEST).astype(np.int8)


def compensated(weights: np.ndarray, scales: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """int8 (O, I, kernel): rounded so that the error of the outputs is small, not that of each weight.

    moments: (groups, fan-in, fan-in) as `moments.second_moments` gives them.

    Source: Hassibi and Stork, "Second Order Derivatives for Network Pruning", 1993; in the order of
    the inputs as in Frantar et al., "GPTQ", 2022, algorithm 1.
    """
    groups, fan_in, _ = moments.shape
    left = in_steps(weights, scales).reshape(groups, -1, fan_in).astype(np.float64)
    factor = _inverse_factor(moments)
    rounded = np.zeros_like(left)
    for column in range(fan_in):
        rounded[:, :, column] = np.rint(left[:, :, column]).clip(-LARGEST, LARGEST)
        error = (left[:, :, column] - rounded[:, :, column]) / factor[:, column, column][:, None]
        left[:, :, column + 1 :] -= error[:, :, None] * factor[:, None, column, column + 1 :]
    return rounded.reshape(weights.shape).astype(np.int8)


def _inverse_factor(moments: np.ndarray) -> np.ndarray:
    """(groups, fan-in, fan-in): the upper triangle U with U'U the inverse of the damped moments."""
    diagonal = np.einsum("gii->gi", moments)
    damping = np.maximum(DAMPING * diagonal.mean(1), 1e-12)
    damped = moments + damping[:, None, None] * np.eye(moments.shape[1])
    return np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)


def mean_shift(weights: np.ndarray, steps: np.ndarray, scales: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(O,) what rounding took off the mean of each output channel: float weights less rounded ones, times means.

    weights, steps: (O, I / groups, ...). means: (I,) of the input channels; borders of zeros count as inside.

    Source: Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019, section 4.2.
    """
    lost = (in_steps(weights, scales) - steps).reshape(*weights.shape[:2], -1).sum(2) * scales[:, None]
    groups = len(means) // weights.shape[1]
    by_group = lost.reshape(groups, -1, weights.shape[1])
    return np.asarray(np.einsum("goi,gi->go", by_group, means.reshape(groups, -1)).reshape(-1))
