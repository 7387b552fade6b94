"""Agreement of two runs of one network, and the limits for an engine against the reference run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fcn_edge.engines.base import Execution
from fcn_edge.schema import StoredValue
from fcn_edge.spec import Precision

APART_DB, APART_PIXELS = 3.0, 1.5  # two independent roundings, relative to one rounding against none
EXACT_DB = 200.0  # used for infinity: float32 cannot resolve more than 150 dB


@dataclass(frozen=True)
class ReferenceLimits(StoredValue):
    """sqnr_db: minimum signal-to-difference ratio over all outputs. agreement: minimum share of equal pixels."""

    sqnr_db: float
    agreement: float


@dataclass(frozen=True)
class Agreement(StoredValue):
    """Agreement of two engines of one file.

    sqnr_db: 10 log10(sum of squares / sum of squared differences) of all scores, None for files
    that end in a class map. agreement: share of pixels with the same class; worst: the lowest of one image.
    """

    images: int
    sqnr_db: float | None
    agreement: float
    worst: float


@dataclass(frozen=True)
class ReferenceCheck(Agreement):
    """Agreement of an engine with the reference run of its file.

    runtime: of the reference. from_fp32: agreement of the file itself with fp32. data: name of the images.
    """

    runtime: str
    limits: ReferenceLimits
    from_fp32: Agreement | None = None
    data: str = ""


def limits_for(precision: Precision, execution: Execution, loss: Agreement | None = None) -> ReferenceLimits:
    """The limits for an engine.

    loss: agreement of the quantized file with fp32, both as reference runs. If a coarse scale makes rounding errors
    large, two correct engines round differently: independent errors as large as the file's loss against fp32 lower
    the ratio by 3 dB and raise the share of different pixels by up to half.
    """
    if (precision, execution) == ("fp32", "f32"):
        return ReferenceLimits(60.0, 0.999)
    if loss is None:
        return ReferenceLimits(15.0, 0.85)
    sqnr_db = 15.0 if loss.sqnr_db is None else min(15.0, loss.sqnr_db - APART_DB)
    return ReferenceLimits(sqnr_db, min(0.97, 1 - APART_PIXELS * (1 - loss.agreement)))


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise), both sums of squares, from -EXACT_DB to EXACT_DB.

    EXACT_DB if nothing differs; -EXACT_DB if there is no signal or either sum is not finite.
    """
    if noise == 0:
        return EXACT_DB
    if signal == 0 or not np.isfinite((signal, noise)).all():
        return -EXACT_DB
    return float(np.clip(10 * np.log10(signal / noise), -EXACT_DB, EXACT_DB))
