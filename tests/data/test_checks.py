"""What is wrong with a set is found and named: pairs, values, shares, near-duplicates within and across sets."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from fcn_edge.data.checks import check_datasets
from fcn_edge.data.near_duplicates import ImageHashes, hash_of_image
from fcn_edge.errors import BadInput
from tests.data.formatfiles import CLASSES, edit_json, labels, write_coco
from tests.refusals import assert_names, refused
from tests.shared_data import SHARED


def scene(seed, size=(120, 160)):
    """A picture of coloured shapes, another one for each seed."""
    random = np.random.default_rng(seed)
    picture = np.full((*size, 3), random.integers(0, 255, 3), np.uint8)
    for _ in range(12):
        x, y, w, h = (int(value) for value in random.integers(0, 120, 4))
        cv2.rectangle(picture, (x, y), (x + w, y + h), [int(value) for value in random.integers(0, 255, 3)], -1)
    return cv2.GaussianBlur(picture, (5, 5), 0)


@pytest.fixture
def own_set(tmp_path):
    """Writes folder:DIR/NAME of pictures with labels; gives its name."""

    def write(name, pictures, values=None, names=("other", "road"), **entries):
        folder = tmp_path / name
        for part in ("images", "labels"):
            (folder / part).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            cv2.imwrite(str(folder / "images" / f"p{number}.png"), picture)
            value = np.indices(picture.shape[:2]).sum(0) % 2 if values is None else values[number]
            cv2.imwrite(
                str(folder / "labels" / f"p{number}.png"), np.broadcast_to(value, picture.shape[:2]).astype("u1")
            )
        (folder / "classes.json").write_text(json.dumps({"names": names, "label_values": [0, 1], **entries}))
        return f"folder:{folder}"

    return write


def altered(picture):
    """The same photo as it comes back: smaller, brighter, through JPEG."""
    small = cv2.resize(picture, (130, 97), interpolation=cv2.INTER_AREA)
    brighter = np.clip(small.astype(int) * 1.1 + 10, 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", brighter, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)


def hashes_of(pictures):
    hashes = ImageHashes()
    for picture in pictures:
        hashes.add(hash_of_image(picture))
    return hashes


def test_altered_pictures_are_found_and_others_are_not():
    pictures = [scene(seed) for seed in range(60)]
    assert hashes_of(map(altered, pictures)).nearest_in(hashes_of(pictures)) == {n: n for n in range(60)}
    assert hashes_of(pictures).nearest_in(hashes_of(scene(seed) for seed in range(60, 120))) == {}


def test_nearest_of_another_set_and_earlier_ones_of_the_same(monkeypatch):
    monkeypatch.setattr("fcn_edge.data.near_duplicates.ROWS", 3)  # several blocks
    pictures = [scene(seed) for seed in range(10)]
    mine = hashes_of([*pictures, altered(pictures[7]), altered(pictures[2])])
    assert mine.nearest_in(mine) == {10: 7, 11: 2}
    theirs = hashes_of([scene(100), altered(pictures[4])])
    assert mine.nearest_in(theirs) == {4: 1} and theirs.nearest_in(mine) == {1: 4}
    assert hashes_of([]).nearest_in(mine) == {} and mine.nearest_in(hashes_of([])) == {}


def test_flat_pictures_are_compared_by_their_level():
    grey = [np.full((40, 50, 3), level, np.uint8) for level in (10, 11, 200)]
    hashes = hashes_of(grey)
    assert hashes.nearest_in(hashes) == {1: 0}


def test_small_objects_at_different_places_of_a_flat_picture_are_different():
    pictures = []
    for at in (10, 60, 110):
        picture = np.full((120, 160, 3), 240, np.uint8)
        cv2.circle(picture, (at + 10, 60), 6, (20, 20, 20), -1)
        pictures.append(picture)
    hashes = hashes_of(pictures)
    assert hashes.nearest_in(hashes) == {}


def test_right_sets_have_no_problem_and_are_counted(own_set):
    train = own_set("train", [scene(1), scene(2, (90, 160))])
    val = own_set("val", [scene(3)])
    result = check_datasets([train, val])
    assert result.problems == [] and result.warnings == []
    first = result.sets[0]
    assert (first.name, first.images, first.classes) == (train, 2, ("other", "road"))
    assert first.shares == [0.5, 0.5] and first.images_with.tolist() == [2, 2] and first.ignored_share == 0
    assert first.sizes == {(120, 160): 1, (90, 160): 1}
    mapping = json.loads(json.dumps(result.to_mapping()))
    assert mapping["sets"][0]["sizes"] == {"160x120": 1, "160x90": 1}
    assert mapping["sets"][0]["classes"]["road"] == {"share": 0.5, "images": 2}


def test_every_pair_that_cannot_be_read_is_named(own_set, tmp_path):
    name = own_set("train", [scene(1), scene(2), scene(3), scene(4)], [0, 7, 1, 1])
    (tmp_path / "train" / "images" / "p2.png").write_bytes(b"\x89PNG")
    result = check_datasets([name])
    assert [each.images for each in result.sets] == [4] and len(result.problems) == 2
    assert_names(result.problems[0], "p1.png", 7)
    assert_names(result.problems[1], "p2.png")
    assert result.sets[0].images_with.tolist() == [1, 1]


def test_images_whose_pixels_are_all_ignored_are_named(own_set):
    result = check_datasets([own_set("train", [scene(1), scene(2)], [255, 1])])
    assert len(result.problems) == 1
    assert_names(result.problems[0], "p0.png", "ignored")
    assert result.sets[0].ignored_share == 0.5 and result.sets[0].shares == [0.0, 1.0]


def test_one_image_with_two_labels_is_named(own_set):
    result = check_datasets([own_set("train", [scene(1), scene(1), scene(2)], [0, 1, 1])])
    assert len(result.problems) == 1
    assert_names(result.problems[0], "p0.png", "p1.png", "labels")
    same = check_datasets([own_set("other", [scene(1), scene(1), scene(2)], [0, 0, 1])])
    assert same.problems == [] and len(same.warnings) == 1
    assert_names(same.warnings[0], "p0.png", "p1.png")


def test_image_of_two_sets_is_named_with_both(own_set):
    train = own_set("train", [scene(1), scene(2)])
    val = own_set("val", [scene(3), altered(scene(2))])
    result = check_datasets([train, val])
    assert len(result.problems) == 1
    assert_names(result.problems[0], "val/images/p1.png", "train/images/p1.png", train, val)


def test_sets_of_different_classes_are_named(own_set):
    train = own_set("train", [scene(1)])
    val = own_set("val", [scene(3)], names=("road", "other"))
    assert_names(*check_datasets([train, val]).problems, train, val, "classes")


def test_absent_and_rare_classes_are_warnings(own_set):
    value = np.zeros((120, 160))
    value[0, 0] = 1
    name = own_set("train", [scene(1)], [value], names=("other", "road", "car"), label_values=[0, 1, 2])
    result = check_datasets([name])
    assert result.problems == [] and len(result.warnings) == 2
    assert_names(result.warnings[0], "car")
    assert_names(result.warnings[1], "road")


def test_sets_of_tools_are_checked_and_progress_is_reported(tmp_path):
    steps = []

    class Steps:
        def update(self, task, done, total=None):
            steps.append((done, total))

        def note(self, text):
            pass

    result = check_datasets([write_coco(tmp_path)], progress=Steps())
    assert result.sets[0].classes == CLASSES and steps == [(1, 2), (2, 2)]
    expected = np.bincount(labels().ravel()) / labels().size
    np.testing.assert_allclose(result.sets[0].shares, expected)
    assert result.sets[0].notes


def test_images_without_a_shape_are_named(tmp_path):
    name = write_coco(tmp_path)
    edit_json(tmp_path / "instances.json", lambda content: content["annotations"].__delitem__(slice(3)))
    result = check_datasets([name])
    assert result.problems == [] and result.sets[0].empty == [str(tmp_path / "images" / "a.jpg")]
    assert_names(result.warnings[0], "images/a.jpg", "background")


def test_nothing_to_check_is_refused():
    with refused(BadInput, "`data`"):
        check_datasets([])


@pytest.mark.skipif(not (SHARED / "datasets" / "camvid").is_dir(), reason="CamVid is not on this machine")
@pytest.mark.slow
def test_camvid_train_and_val_share_no_image():
    result = check_datasets([f"camvid:{SHARED / 'datasets' / 'camvid'}#{split}" for split in ("train", "val")])
    assert result.in_two_sets == () and result.problems == []
