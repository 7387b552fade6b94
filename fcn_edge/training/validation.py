"""mIoU of a network while it is trained."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn import functional

from fcn_edge.data import Dataset
from fcn_edge.metrics import confusion_from_maps, scores_from_confusion
from fcn_edge.models.checkpoint import CheckpointHeader
from fcn_edge.models.fcn import Segmenter, padded
from fcn_edge.training.batches import normalised


def validation_miou(network: Segmenter, header: CheckpointHeader, validation: Dataset) -> float:
    """mIoU of the network itself at its input size, labels at theirs (nearest pixel of the logits)."""
    network.eval()
    classes = len(validation.classes)
    confusion = np.zeros((classes, classes), np.int64)
    for item in (validation.items[i] for i in range(len(validation.items))):
        image, labels = item.image(), item.labels()
        resized = cv2.resize(image, (header.input.width, header.input.height), interpolation=cv2.INTER_LINEAR)
        with torch.inference_mode():
            x = torch.from_numpy(normalised(resized, header.input))[None]
            logits = network(padded(x, network.geometry))[:, :, : x.shape[2], : x.shape[3]]
            logits = functional.interpolate(logits, labels.shape, mode="bilinear")
        confusion += confusion_from_maps(labels, logits[0].argmax(0).to(torch.uint8).numpy(), classes)
    return scores_from_confusion(confusion).miou or 0.0
