"""Where calibration pictures come from; and that they never come from nowhere."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.calibration.collect import table_from_images
from fcn_edge.calibration.images import (
    DEFAULT_COUNT,
    images_from_source,
    require_disjoint,
    save_recipe,
    shared_images,
    spread_indices,
)
from fcn_edge.calibration.request import hashes_comparable_with
from fcn_edge.data import dataset_from_name, open_dataset
from fcn_edge.data.pictures import TURNED
from fcn_edge.errors import BadInput
from tests.labelfiles import RGB, png_from_samples
from tests.refusals import assert_names, refused


@given(st.integers(1, 2000), st.none() | st.integers(1, 2000))
def test_choice_is_spread_evenly_from_first_to_last(total, count):
    chosen = spread_indices(total, count)
    wanted = min(total, count or DEFAULT_COUNT)
    assert len(chosen) == wanted and chosen[0] == 0
    assert wanted == 1 or chosen[-1] == total - 1
    steps = np.diff(chosen)
    assert wanted < 3 or (steps.min() >= 1 and steps.max() - steps.min() <= 1)


def test_folder_gives_its_pictures_in_order(image_folder):
    (image_folder / "notes.txt").write_text("no picture")
    chosen = images_from_source(str(image_folder))
    assert [image.name for image in chosen.images] == ["street0.jpg", "street1.jpg", "street2.jpg"]
    assert chosen.source == str(image_folder)
    assert chosen.images[0].read().shape == (64, 96, 3)
    assert chosen.images[0].sha256() == sha256_of_file(image_folder / "street0.jpg")


def test_pictures_are_turned_upright_and_hidden_ones_passed_over_with_a_note(tmp_path):
    for name, orientation in (("a", 6), ("b", None), ("c", 8)):
        data = png_from_samples(np.zeros((4, 6, 3), int), 8, RGB, orientation)
        (tmp_path / f"{name}.png").write_bytes(data)
    (tmp_path / "._a.png").write_bytes(b"of another system")
    for source in (tmp_path, f"{tmp_path}/*.png"):
        chosen = images_from_source(str(source))
        assert [image.read().shape[:2] for image in chosen.images] == [(6, 4), (4, 6), (6, 4)]
        assert_names(" ".join(chosen.notes.lines), "a.png and 1 more", TURNED)
    (note,) = images_from_source(str(tmp_path)).notes.lines
    assert_names(note, "._a.png", "hidden")


def test_data_set_folder_gives_what_lies_in_images(image_folder):
    assert len(images_from_source(str(image_folder.parent)).images) == 3


@pytest.mark.parametrize(("pattern", "count"), [("*.jpg", 3), ("street[02].jpg", 2), ("street1.jpg", 1)])
def test_glob_and_single_file(image_folder, pattern, count):
    assert len(images_from_source(f"{image_folder}/{pattern}").images) == count


def test_count_is_kept(image_folder):
    assert [image.name for image in images_from_source(str(image_folder), 2).images] == ["street0.jpg", "street2.jpg"]


def test_data_set_is_taken_by_name():
    chosen = images_from_source("synthetic:street,seed=5,images=10,size=32x48", 3)
    assert [image.name for image in chosen.images] == ["street5_000000", "street5_000004", "street5_000009"]
    assert len({image.sha256() for image in chosen.images}) == 3


@pytest.fixture
def video(tmp_path):
    """Ten frames of one grey each, 20 levels apart, which survive compression, and a black bar."""
    path = tmp_path / "drive.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (96, 64))
    for number in range(10):
        frame = np.full((64, 96, 3), 20 * number + 20, np.uint8)
        frame[:, :16] = 0
        writer.write(frame)
    writer.release()
    return path


def test_video_gives_frames_spread_over_it(video):
    chosen = images_from_source(str(video), 4)
    assert [image.name for image in chosen.images] == [f"drive.mp4#{index}" for index in (0, 3, 6, 9)]
    greys = [chosen.images[number].read()[:, 32:].mean() for number in (2, 0, 3, 1)]  # in any order
    np.testing.assert_allclose(greys, [140, 20, 200, 80], atol=5)  # of 20 between neighbours
    assert len({image.sha256() for image in chosen.images}) == 4


@pytest.mark.slow
def test_network_is_calibrated_on_a_video(video, onnx_file):
    table = table_from_images(onnx_file, images_from_source(str(video), 3))
    assert table.source == str(video) and len(set(table.images_sha256)) == 3 and table.skipped == ()


@pytest.mark.parametrize(("content", "fact"), [(b"", "empty"), (b"no video" * 100, "video")])
def test_video_that_does_not_open_is_named(tmp_path, content, fact):
    (tmp_path / "a.mp4").write_bytes(content)
    with refused(BadInput, "a.mp4", fact):
        images_from_source(str(tmp_path / "a.mp4"))


def test_missing_video_is_named(tmp_path):
    with refused(BadInput, "a.mp4", "video"):
        images_from_source(str(tmp_path / "a.mp4"))


@pytest.mark.parametrize("source", ["", "/empty", "/notes.txt", "/*.png"])
def test_noise_is_never_taken_instead_of_pictures(tmp_path, source):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no picture")
    with refused(BadInput, "INT8", "noise"):
        images_from_source(f"{tmp_path}{source}")


def test_missing_source_says_what_is_taken(tmp_path):
    with refused(BadInput, "none", "folder", "glob", "video", "TOML", "table"):
        images_from_source(str(tmp_path / "none"))


@pytest.fixture
def recipe(image_folder, tmp_path):
    """Writes a calibration TOML of the folder's pictures; keywords are more of its lines."""

    def write(**lines):
        text = "".join(f"{key} = {value}\n" for key, value in ({"source": repr(str(image_folder))} | lines).items())
        (tmp_path / "set.toml").write_text(text)
        return str(tmp_path / "set.toml")

    return write


def test_recipe_names_source_and_count(recipe):
    chosen = images_from_source(recipe(images=2))
    assert len(chosen.images) == 2 and chosen.source == "set.toml"
    assert len(images_from_source(recipe(images=2), 3).images) == 3, "--calib-images comes before the recipe"


def test_recipe_of_the_shelf_is_found_by_name():
    chosen = images_from_source("synthetic_street")
    assert len(chosen.images) == 64 and chosen.images[0].read().shape == (360, 480, 3)


def test_recipe_holds_its_pictures_to_their_hashes(image_folder, tmp_path):
    save_recipe(tmp_path / "set.toml", str(image_folder), hashes_of(images_from_source(str(image_folder))))
    source = str(tmp_path / "set.toml")
    before = [image.read() for image in images_from_source(source).images]
    shutil.copy(image_folder / "street0.jpg", image_folder / "a_new_one.jpg")
    after = [image.read() for image in images_from_source(source).images]
    np.testing.assert_array_equal(before, after)  # what came later is none of the set
    assert len(images_from_source(source, 2).images) == 2
    shutil.copy(image_folder / "street0.jpg", image_folder / "street1.jpg")
    with refused(BadInput, "set.toml", 3, "street1.jpg"):
        images_from_source(source)
    (image_folder / "street2.jpg").unlink()
    with refused(BadInput, "set.toml", 3, "street1.jpg", "street2.jpg"):
        images_from_source(source)


def hashes_of(chosen):
    return {image.name: image.sha256() for image in chosen.images}


def test_names_of_a_glob_tell_folders_apart(image_folder, tmp_path):
    shutil.copytree(image_folder, image_folder / "more")
    names = [image.name for image in images_from_source(f"{image_folder}/**/*.jpg").images]
    assert len(set(names)) == 6 and {"street0.jpg", "more/street0.jpg"} <= set(names)


def test_set_of_a_shelf_file_is_not_written_again(tmp_path):
    with refused(BadInput, "set.toml", "synthetic_street"):
        save_recipe(tmp_path / "set.toml", "synthetic_street", {})


def test_images_of_the_labelled_set_are_named_whatever_their_files_are_called(image_folder, tmp_path):
    """By content: the one that is shared has another name and lies elsewhere."""
    root = tmp_path / "set"
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    shutil.copy(image_folder / "street1.jpg", root / "images" / "renamed.jpg")
    cv2.imwrite(str(root / "labels" / "renamed.png"), np.zeros((64, 96), np.uint8))
    (root / "classes.json").write_text('{"names": ["all"]}')
    data, found = dataset_from_name(f"folder:{root}"), hashes_of(images_from_source(str(image_folder)))
    assert shared_images(found, data) == ["street1.jpg"]
    with refused(BadInput, "1 of 3", "street1.jpg"):
        require_disjoint(found, data)
    require_disjoint({name: sha256 for name, sha256 in found.items() if name != "street1.jpg"}, data)


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        ({"image": 3}, ("set.toml", "image", "images")),
        ({"images": "'many'"}, ("set.toml", "images", "int", "many")),
        ({"source": "'set.toml'"}, ("source", "set.toml")),
        ({"source": "'synthetic_street'"}, ("set.toml", "source", "synthetic_street")),
        ({"source": "'/nowhere'"}, ("/nowhere",)),
    ],
    ids=["key", "type", "itself", "another", "missing"],
)
def test_recipe_that_does_not_fit_is_named(recipe, lines, facts):
    with refused(BadInput, *facts):
        images_from_source(recipe(**lines))


def test_unknown_calibration_set_is_named():
    with refused(BadInput, "none.toml"):
        images_from_source("none.toml")


def test_arrays_are_calibration_images_in_their_order(street):
    arrays = [street(number)[0] for number in range(3)]
    images = images_from_source(iter(arrays))
    assert [image.name for image in images.images] == ["array 0", "array 1", "array 2"]
    assert all(np.array_equal(image.read(), array) for image, array in zip(images.images, arrays))
    assert len({image.sha256() for image in images.images}) == 3
    assert [image.name for image in images_from_source(arrays, 2).images] == ["array 0", "array 2"]


def test_all_of_many_arrays_are_taken():
    assert len(images_from_source([np.zeros((2, 2, 3), np.uint8)] * (DEFAULT_COUNT + 1)).images) == DEFAULT_COUNT + 1


@pytest.mark.parametrize(
    ("arrays", "facts"),
    [
        ([], ("images", "arrays")),
        ([np.zeros((4, 4, 3), np.float32)], ("image 0", "float32", "(4, 4, 3)", "uint8")),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)], ("image 1", "(4, 4)", "(H, W, 3)")),
        (["a.png"], ("image 0", "str")),
    ],
)
def test_what_is_no_picture_is_refused(arrays, facts):
    with refused(BadInput, *facts):
        images_from_source(arrays)


def test_no_file_makes_a_set_of_arrays_again(tmp_path):
    images = images_from_source([np.zeros((2, 2, 3), np.uint8)])
    with refused(BadInput, "set.toml", "1 arrays"):
        save_recipe(tmp_path / "set.toml", images.source, {image.name: image.sha256() for image in images.images})


def test_arrays_and_files_of_the_same_pictures_are_found_to_be_shared(image_folder, tmp_path):
    """Arrays have no files: their pixels are compared with what the files of the other side decode to."""
    root = tmp_path / "set"
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    shutil.copy(image_folder / "street1.jpg", root / "images")
    cv2.imwrite(str(root / "labels" / "street1.png"), np.zeros((64, 96), np.uint8))
    (root / "classes.json").write_text('{"names": ["all"]}')
    on_disk = dataset_from_name(f"folder:{root}")
    picture, other = on_disk.items[0].image(), np.zeros((64, 96, 3), np.uint8)
    assert shared_images(hashes_of(images_from_source([other, picture])), on_disk) == ["array 1"]
    in_memory = open_dataset([(picture, on_disk.items[0].labels())], classes=["all"])
    files = images_from_source(str(image_folder))
    hashes = hashes_comparable_with(in_memory, files)
    assert shared_images(hashes, in_memory) == ["street1.jpg"]
    assert hashes_comparable_with(on_disk, files) == hashes_of(files)
