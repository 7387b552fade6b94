"""Files of ours are recognised by their content, and marks leave pictures as they are."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcn_edge.atomic_io import whole_file, whole_folder, write_json
from fcn_edge.errors import BadInput
from fcn_edge.outputs import is_ours, marked_jpeg, marked_png, require_apart, require_lines, require_replaceable
from tests.refusals import refused

PICTURE = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)


@pytest.mark.parametrize(("suffix", "marked"), [(".png", marked_png), (".jpg", marked_jpeg)])
def test_mark_leaves_the_pixels_as_they_are(tmp_path, suffix, marked):
    data = cv2.imencode(suffix, PICTURE)[1].tobytes()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    assert not is_ours(path)
    path.write_bytes(marked(data))
    assert is_ours(path)
    plain, shown = (cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in (data, marked(data)))
    assert np.array_equal(plain, shown)


def test_files_that_the_program_writes_are_its_own(onnx_file, int8_file, table_file, checkpoint_file):
    for path in (onnx_file, int8_file, table_file, checkpoint_file):
        assert is_ours(path)
        assert not is_ours(path, "csv")


def test_empty_file_is_free_and_a_device_is_not(tmp_path):
    (tmp_path / "a.json").touch()
    (tmp_path / "null.json").symlink_to("/dev/null")
    require_replaceable(tmp_path / "a.json")
    with refused(BadInput, "null.json", "device"):
        write_json(tmp_path / "null.json", {})
    assert not (tmp_path / "null.json").is_file()


def test_lines_may_go_to_a_device():
    require_lines(Path("/dev/null"), "log", 3)


def test_python_users_are_protected_too(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"made by hand")
    with refused(BadInput, "a.onnx", "fcn-edge"), whole_file(tmp_path / "a.onnx") as part:
        part.write_bytes(b"new")
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "notes.txt").write_text("mine")
    with refused(BadInput, tmp_path / "engine", "empty"), whole_folder(tmp_path / "engine"):
        pass
    assert (tmp_path / "a.onnx").read_bytes() == b"made by hand"
    assert os.listdir(tmp_path / "engine") == ["notes.txt"]


def test_folder_that_was_filled_meanwhile_is_kept(tmp_path):
    def fill_meanwhile():
        with whole_folder(tmp_path / "new") as part:
            (part / "a").write_text("ours")
            (tmp_path / "new").mkdir()
            (tmp_path / "new" / "b").write_text("theirs")

    with refused(BadInput, tmp_path / "new", "empty"):
        fill_meanwhile()
    assert os.listdir(tmp_path) == ["new"] and os.listdir(tmp_path / "new") == ["b"]


def test_folder_that_is_replaced_holds_no_input(tmp_path):
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "net.onnx").touch()
    (tmp_path / "link.onnx").symlink_to("engine/net.onnx")
    for source in ("engine/net.onnx", "link.onnx", "engine/../engine/net.onnx"):
        with refused(BadInput, tmp_path / "engine", "read"):
            require_apart([tmp_path / "engine"], [tmp_path / source], whole=True)
        require_apart([tmp_path / "engine"], [tmp_path / source])  # files are only added there


@pytest.mark.parametrize(
    "source",
    [
        "camvid:{}#val",
        "folder:{}",
        "{}",
        "coco:{}/a.json,{}",
        "coco:none.json,{}#overlap=later",
        "file://{}",
        "{}/*",
        "{}/a.png",
    ],
)
def test_inputs_are_found_in_every_way_to_name_them(tmp_path, source):
    (tmp_path / "a.png").touch()
    is_folder = source.endswith(("{}", "#val", "#overlap=later"))
    with refused(BadInput, "read"):
        require_apart([tmp_path if is_folder else tmp_path / "a.png"], [source.replace("{}", str(tmp_path))])


def test_address_is_no_file():
    require_apart([Path("o.mp4")], ["rtsp://u:p*@cam/[1]", "gst:videotestsrc ! appsink", "0", "a" * 5000])
