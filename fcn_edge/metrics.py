"""The paper's four metrics from confusion matrices; the only mIoU in the project.

Source: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation",
CVPR 2015, section 5. With n_ij pixels of class i predicted as j and t_i = sum_j n_ij:
pixel accuracy = sum_i n_ii / sum_i t_i; mean accuracy, mean IU and frequency weighted IU
are means over classes, here over the classes present in labels or predictions of the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcn_edge.errors import BadInput
from fcn_edge.kernels import native_kernels


def confusion_from_maps(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """(C, C) int64: rows are labels, columns predictions; label pixels >= C are ignored.

    labels, predicted: (H, W) uint8. Raises BadInput where their shapes differ or a
    prediction is not a class.
    """
    if labels.shape != predicted.shape:
        raise BadInput(f"labels are {labels.shape}, the class map is {predicted.shape}; both must be (H, W)")
    if predicted.size and int(predicted.max()) >= num_classes:
        raise BadInput(f"the class map holds {int(predicted.max())}; the classes are 0..{num_classes - 1}")
    kernels = native_kernels()
    if kernels is not None and labels.dtype == predicted.dtype == np.uint8:
        pairs = np.empty((256, 256), np.int64)
        kernels.confusion(np.ascontiguousarray(labels).ravel(), np.ascontiguousarray(predicted).ravel(), pairs)
        return pairs[:num_classes, :num_classes].copy()
    return reference_confusion(labels, predicted, num_classes)


def reference_confusion(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """What the kernel must reproduce; maps as in `confusion_from_maps`."""
    known = labels < num_classes
    cells = labels[known].astype(np.int64) * num_classes + predicted[known]
    return np.bincount(cells, minlength=num_classes * num_classes).reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Scores:
    """The four metrics as fractions 0..1; `iou` holds None for classes that never occur."""

    miou: float | None
    pixel_acc: float | None
    mean_acc: float | None
    fw_iou: float | None
    iou: tuple[float | None, ...]


def iou_from_confusion(confusion: np.ndarray) -> np.ndarray:
    """(..., C) float64, the IU of each class of (..., C, C) matrices; NaN where a class never occurs."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    union = confusion.sum(-1) + confusion.sum(-2) - hits
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def miou_from_iou(iou: np.ndarray) -> np.ndarray:
    """(...) float64, the mean of (..., C) over the classes that occur; NaN where none does."""
    occurs = ~np.isnan(iou)
    count = occurs.sum(-1)
    return np.divide(np.nansum(iou, -1), count, out=np.full(count.shape, np.nan), where=count > 0)


def scores_from_confusion(confusion: np.ndarray) -> Scores:
    """Scores of a (C, C) confusion matrix, rows = labels."""
    hits, labelled = np.diag(confusion).astype(np.float64), confusion.sum(1)
    if confusion.sum() == 0:
        return Scores(None, None, None, None, (None,) * len(hits))
    iou = iou_from_confusion(confusion)
    accuracy = np.divide(hits, labelled, out=np.full(len(hits), np.nan), where=labelled > 0)
    total = labelled.sum()
    return Scores(
        miou=float(miou_from_iou(iou)),
        pixel_acc=float(hits.sum() / total),
        mean_acc=float(np.nanmean(accuracy)),
        fw_iou=float(np.nansum(labelled * np.nan_to_num(iou)) / total),
        iou=tuple(None if np.isnan(value) else float(value) for value in iou),
    )


@dataclass(frozen=True)
class ImageScore:
    """One image's confusion matrix, sparse, with what identifies it (for paired statistics)."""

    sha256: str
    sequence: str
    cells: tuple[tuple[int, int], ...]


def sparse_cells(confusion: np.ndarray) -> tuple[tuple[int, int], ...]:
    """(flat index, count) of every non-zero cell of a (C, C) confusion matrix."""
    flat = confusion.ravel()
    return tuple((int(index), int(flat[index])) for index in np.flatnonzero(flat))


def confusion_from_cells(cells: Sequence[Sequence[int]], num_classes: int) -> np.ndarray:
    """The (C, C) int64 matrix back from its non-zero cells."""
    flat = np.zeros(num_classes * num_classes, np.int64)
    for index, count in cells:
        flat[index] += count
    return flat.reshape(num_classes, num_classes)


def confusion_of_images(images: Sequence[ImageScore], num_classes: int) -> np.ndarray:
    """(C, C) int64 of all images together."""
    zero = np.zeros((num_classes, num_classes), np.int64)
    return sum((confusion_from_cells(image.cells, num_classes) for image in images), zero)


def iou_by_name(scores: Scores, classes: Sequence[str]) -> dict[str, Any]:
    """Per-class IU under the class's name; None where the class never occurs."""
    return dict(zip(classes, scores.iou, strict=True))
