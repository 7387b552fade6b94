"""The images that a comparison runs on, with their labels where these fit the networks."""

from __future__ import annotations

from dataclasses import replace

from fcn_edge.calibration.images import (
    CalibrationImage,
    CalibrationImages,
    ImagesLike,
    images_from_source,
    spread_indices,
)
from fcn_edge.data import Dataset, is_dataset_name, open_dataset


def compared_images(images: ImagesLike, count: int, classes: tuple[str, ...]) -> CalibrationImages:
    """At most `count` of them, evenly spread. Labels are left out where their classes are not these.

    Raises BadInput where there is nothing, or no images.
    """
    if isinstance(images, Dataset) or (isinstance(images, str) and is_dataset_name(images)):
        return _of_dataset(open_dataset(images), count, classes)
    found = images_from_source(images, count)
    return replace(found, images=[replace(image, labels=None) for image in found.images])


def _of_dataset(dataset: Dataset, count: int, classes: tuple[str, ...]) -> CalibrationImages:
    has_labels = dataset.classes == classes
    items = [dataset.items[index] for index in spread_indices(len(dataset.items), count)]
    images = [
        CalibrationImage(item.name, item.image, item.sha256, item.labels if has_labels else None) for item in items
    ]
    return CalibrationImages(dataset.name, images, dataset.classes, dataset.notes)
