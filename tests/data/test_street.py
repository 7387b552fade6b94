"""The synthetic street: the same everywhere, well formed, and recognisably a street."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fcn_edge.data.street import CLASSES, PALETTE, Street

_ROOT = Path(__file__).resolve().parents[2]
_SMALL = (90, 120)


def _digest(seed: int, index: int) -> str:
    image, labels = Street(seed, 120, 160).render(index)
    return hashlib.sha256(image.tobytes() + labels.tobytes()).hexdigest()


def test_classes_and_palette_match():
    assert len(CLASSES) == len(PALETTE) == len(set(PALETTE)) == 11
    assert CLASSES[0] == "sky" and CLASSES[3] == "road" and CLASSES[10] == "bicyclist"


def test_random_access_gives_the_same_bytes():
    forward = [_digest(7, index) for index in (0, 100, 3)]
    backward = [_digest(7, index) for index in (3, 100, 0)]
    assert forward == backward[::-1]


@pytest.mark.slow
def test_new_process_gives_the_same_bytes():
    code = (
        "import hashlib; from fcn_edge.data.street import Street;"
        "i, l = Street(7, 120, 160).render(100);"
        "print(hashlib.sha256(i.tobytes() + l.tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == _digest(7, 100)


@pytest.mark.parametrize("size", [(64, 64), (65, 131), (97, 64), (360, 480), (301, 77), (270, 1001)])
def test_any_size(size: tuple[int, int]):
    image, labels = Street(3, *size).render(40)
    assert image.shape == (*size, 3) and image.dtype == np.uint8
    assert labels.shape == size and labels.dtype == np.uint8
    assert labels.max() <= 10


@pytest.mark.slow
def test_full_hd():
    image, labels = Street(3, 1080, 1920).render(5)
    assert image.shape == (1080, 1920, 3) and len(np.unique(labels)) >= 7


@pytest.mark.slow
def test_seeds_differ():
    shown = {_digest(seed, 0) for seed in range(8)}
    assert len(shown) == 8


def test_motion_is_smooth():
    street = Street(11)
    frames = [street.render(index) for index in range(20, 26)]
    for (before, old), (after, new) in zip(frames[:-1], frames[1:], strict=True):
        change = np.abs(before.astype(int) - after).mean()
        assert 0.2 < change < 25
        assert (old != new).mean() < 0.12


@pytest.mark.slow
def test_forty_streets_show_every_class():
    counts = np.zeros((40, 11))
    for seed in range(40):
        _, labels = Street(seed + 500, *_SMALL).render(seed * 13)
        counts[seed] = np.bincount(labels.ravel(), minlength=11)
    share = counts.sum(axis=0) / counts.sum()
    assert (share > 0).all()
    assert share[3] > 0.2 and share[0] > 0.05
    assert (counts[:, 3] > 0).all() and (counts[:, 0] > 0).all()


def test_image_belongs_to_labels():
    """Sky is brighter than road in every street, so both were drawn from one geometry."""
    for seed in range(10):
        image, labels = Street(seed, *_SMALL).render(9)
        assert image[labels == 0].mean() > image[labels == 3].mean() + 40
