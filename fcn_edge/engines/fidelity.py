"""How near two runs of one network are, and how near an engine has to be to the reference run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fcn_edge.engines.base import Execution
from fcn_edge.schema import StoredValue
from fcn_edge.spec import Precision

APART_DB, APART_PIXELS = 3.0, 1.5  # of two independent roundings, against one of them and no rounding
EXACT_DB = 200.0  # stands for infinity: float32 cannot resolve more than 150 dB


@dataclass(frozen=True)
class ReferenceLimits(StoredValue):
    """sqnr_db: least ratio of signal to difference over all outputs. agreement: least share of equal pixels."""

    sqnr_db: float
    agreement: float


@dataclass(frozen=True)
class Fidelity(StoredValue):
    """How near two engines of one file are.

    sqnr_db: 10 log10(sum of squares / sum of squared differences) of all scores, None for files
    that end in a class map. agreement: share of pixels with the same class; worst: of one image.
    """

    images: int
    sqnr_db: float | None
    agreement: float
    worst: float


@dataclass(frozen=True)
class ReferenceCheck(Fidelity):
    """An engine that computes what its file says.

    runtime: of the reference. from_fp32: the file's own distance from fp32. data: name of the images.
    """

    runtime: str
    limits: ReferenceLimits
    from_fp32: Fidelity | None = None
    data: str = ""


def limits_for(precision: Precision, execution: Execution, price: Fidelity | None = None) -> ReferenceLimits:
    """What an engine must reach.

    price: how far the quantized file itself is from fp32, both as reference runs. Where a coarse scale makes each
    rounding large, two right engines round apart: independent errors of the size that the file has against fp32
    differ by 3 dB more than that, and by up to half as many pixels again.
    """
    if (precision, execution) == ("fp32", "f32"):
        return ReferenceLimits(60.0, 0.999)
    if price is None:
        return ReferenceLimits(15.0, 0.85)
    sqnr_db = 15.0 if price.sqnr_db is None else min(15.0, price.sqnr_db - APART_DB)
    return ReferenceLimits(sqnr_db, min(0.97, 1 - APART_PIXELS * (1 - price.agreement)))


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise), both sums of squares, from -EXACT_DB to EXACT_DB.

    EXACT_DB where nothing differs; -EXACT_DB where there is no signal, or either sum is not finite.
    """
    if noise == 0:
        return EXACT_DB
    if signal == 0 or not np.isfinite((signal, noise)).all():
        return -EXACT_DB
    return float(np.clip(10 * np.log10(signal / noise), -EXACT_DB, EXACT_DB))
