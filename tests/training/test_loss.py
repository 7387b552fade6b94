"""The soft Jaccard term of the loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing was trained")

from fcn_edge.metrics import confusion_from_maps, scores_from_confusion  # noqa: E402
from fcn_edge.training import loop  # noqa: E402
from tests.training.runs import (  # noqa: E402
    PLAN,
    RECIPE,
    train_network,
)


def test_soft_mean_iu_of_hard_classes_is_mean_iu():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 4, (2, 3, 20, 30))
    labels[labels == 3] = 9  # not labelled; class 3 is then no label's
    confusion = sum(confusion_from_maps(a.astype(np.uint8), b.astype(np.uint8), 4) for a, b in zip(labels, predicted))
    wanted = np.mean(scores_from_confusion(confusion).iou[:3])
    shares = torch.nn.functional.one_hot(torch.from_numpy(predicted), 4).permute(0, 3, 1, 2).float()
    assert loop.soft_mean_iu(shares, torch.from_numpy(labels), 9).item() == pytest.approx(wanted)


@pytest.mark.slow
def test_jaccard_term_is_added_and_has_a_gradient(streets, tmp_path):
    losses = []
    for weight in (0.0, 1.0):
        recipe = replace(RECIPE, train=replace(PLAN, epochs=1, jaccard=weight))
        record = train_network(recipe, tmp_path / f"{weight}.safetensors", data=streets["data"])
        losses.append(record["epochs"][0]["loss"])
    assert losses[1] > losses[0] + 0.3
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loop.soft_mean_iu(logits.softmax(1), torch.zeros(1, 4, 4, dtype=torch.long), 255).backward()
    assert (logits.grad[:, 0] > 0).all() and (logits.grad[:, 1] < 0).all()
