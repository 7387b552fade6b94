"""The synthetic street as a data set: its options, and that no two seeds share a picture."""

from __future__ import annotations

import numpy as np
import pytest

from fcn_edge.data import dataset_from_name
from fcn_edge.data.synthetic import STREETS_PER_SEED, StreetOptions, options_from_text
from fcn_edge.errors import BadInput
from tests.refusals import refused


def hashes(name):
    items = dataset_from_name(name).items
    return [items[index].sha256() for index in range(len(items))]


def test_options_are_read():
    assert options_from_text("street") == StreetOptions()
    assert options_from_text("street,seed=7,images=3,size=48x64,video=1") == StreetOptions(7, 3, 48, 64, True)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("road", ("synthetic:street",)),
        ("street,seed", ("seed", "key=value")),
        ("street,sede=1", ("sede", "seed")),
        ("street,seed=one", ("seed", "one")),
        ("street,size=48", ("size", 48)),
        ("street,size=48x64x3", ("size", "48x64x3")),
        ("street,images=0", ("images", 1)),
        (f"street,images={STREETS_PER_SEED + 1}", ("images", STREETS_PER_SEED, "video=1")),
        ("street,seed=-1", ("seed", 0)),
        ("street,size=31x64", ("size", "32x32")),
        ("street,size=48x9000", ("size", "4320x7680")),
        ("street,video=yes", ("video", "yes")),
        ("street,video=2", ("video", "bool", 2)),
    ],
)
def test_options_that_do_not_fit_are_refused(text, facts):
    with refused(BadInput, f"synthetic:{text.partition(',')[0]}", *facts) as caught:
        dataset_from_name(f"synthetic:{text}")
    assert f"synthetic:{text.partition(',')[0]}" in str(caught.value)


@pytest.mark.slow
def test_sets_of_different_seeds_share_no_image():
    sets = [hashes(f"synthetic:street,seed={seed},images=4,size=32x48") for seed in (0, 1, 2, 10)]
    found = [one for listed in sets for one in listed]
    assert len(set(found)) == len(found)


def test_last_street_of_a_seed_is_not_the_first_of_the_next():
    items = dataset_from_name(f"synthetic:street,seed=1,images={STREETS_PER_SEED},size=32x48").items
    last = items[STREETS_PER_SEED - 1]
    first = dataset_from_name("synthetic:street,seed=2,images=1,size=32x48").items[0]
    assert last.street.seed < first.street.seed


def test_items_are_drawn_alike_each_time_and_any_size_of_set():
    name = "synthetic:street,seed=3,size=32x48,images="
    assert hashes(f"{name}2") == hashes(f"{name}5")[:2]


def test_item_holds_image_and_labels_of_the_asked_size():
    item = dataset_from_name("synthetic:street,images=1,size=48x80").items[0]
    assert item.image().shape == (48, 80, 3) and item.labels().shape == (48, 80)
    assert item.image().dtype == item.labels().dtype == np.uint8
    assert item.labels().max() <= 10


def test_video_is_one_drive_and_images_are_streets_of_their_own():
    drive = dataset_from_name("synthetic:street,images=4,size=32x48,video=1").items
    streets = dataset_from_name("synthetic:street,images=4,size=32x48").items
    assert len({drive[i].sequence for i in range(4)}) == 1
    assert len({streets[i].sequence for i in range(4)}) == 4


def test_items_end():
    items = dataset_from_name("synthetic:street,images=3,size=32x48").items
    assert len(items) == 3 and len(list(items)) == 3
    for index in (3, -1):
        with pytest.raises(IndexError):
            items[index]


def test_huge_seed_draws_a_street():
    assert dataset_from_name("synthetic:street,seed=4000000000,images=1,size=32x48").items[0].image().any()
