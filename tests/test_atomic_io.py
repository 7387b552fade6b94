"""Files and folders are whole or not there, and what is read is what was expected."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
from pathlib import Path

import pytest

from fcn_edge.atomic_io import (
    json_from_text,
    read_json,
    require_file,
    sha256_of_file,
    sha256_of_json,
    whole_file,
    whole_folder,
    write_json,
)
from fcn_edge.errors import BadInput
from tests.refusals import refused

TOO_DEEP = 200_000  # brackets; Python's own parsers give up long before


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path, text: str) -> None:
    with whole_file(path) as part:
        part.write_text(text)


def break_off(path: Path, error: BaseException) -> None:
    with whole_file(path) as part:
        part.write_text("half of it")
        raise error


def test_whole_file_appears_under_its_name_only(tmp_path):
    write(tmp_path / "made" / "anew" / "a.json", "text")
    assert (tmp_path / "made" / "anew" / "a.json").read_text() == "text"
    assert names_in(tmp_path / "made" / "anew") == ["a.json"]


def test_temporary_name_keeps_the_suffix_that_writers_look_at(tmp_path):
    with whole_file(tmp_path / "video.mp4") as part:
        assert part.suffix == ".mp4" and part.parent == tmp_path
        part.write_bytes(b"0")


def test_failure_leaves_the_older_file_and_nothing_else(tmp_path):
    (tmp_path / "a.json").write_text('{\n  "schema": 1}')
    with pytest.raises(ZeroDivisionError):
        break_off(tmp_path / "a.json", ZeroDivisionError())
    assert names_in(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == '{\n  "schema": 1}'


def test_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        break_off(tmp_path / "a.json", KeyboardInterrupt())
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "fact"),
    [(errno.ENOSPC, "disk"), (errno.EACCES, "written"), (errno.EROFS, "written")],
    ids=["full disk", "no permission", "read-only"],
)
def test_disk_that_refuses_is_told_and_nothing_is_left(tmp_path, monkeypatch, code, fact):
    def refuse(source, target):
        raise OSError(code, os.strerror(code), str(source))

    monkeypatch.setattr(os, "replace", refuse)
    with refused(BadInput, tmp_path / "a.json", fact):
        write(tmp_path / "a.json", "text")
    assert names_in(tmp_path) == []


def test_full_disk_while_writing_leaves_nothing(tmp_path):
    with refused(BadInput, "a.onnx", "disk"):
        break_off(tmp_path / "a.onnx", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert names_in(tmp_path) == []


def test_failure_on_another_file_is_not_blamed_on_this_one(tmp_path):
    with refused(BadInput, "/elsewhere/weights.bin"), whole_file(tmp_path / "a.onnx"):
        Path("/elsewhere/weights.bin").read_bytes()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write into read-only folders")
def test_read_only_folder_is_told(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with refused(BadInput, tmp_path / "locked" / "a.json", "written"):
        write(tmp_path / "locked" / "a.json", "text")


def test_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with refused(BadInput, tmp_path / "file" / "a.json", "written"):
        write(tmp_path / "file" / "a.json", "text")


def test_file_name_that_is_a_folder_is_told(tmp_path):
    (tmp_path / "a.json").mkdir()
    with refused(BadInput, tmp_path / "a.json", "folder"):
        write(tmp_path / "a.json", "text")
    assert names_in(tmp_path) == ["a.json"]


def test_whole_folder_replaces_the_older_one(tmp_path):
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "old.txt").write_text("old")
    with whole_folder(tmp_path / "engine", require_ours=lambda _: None) as part:
        (part / "new.txt").write_text("new")
    assert names_in(tmp_path) == ["engine"]
    assert names_in(tmp_path / "engine") == ["new.txt"]


def test_failed_folder_leaves_the_older_one(tmp_path):
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "old.txt").write_text("old")
    ours = whole_folder(tmp_path / "engine", require_ours=lambda _: None)
    with pytest.raises(ZeroDivisionError), ours as part:
        (part / "new.txt").write_text(f"{1 / 0}")
    assert names_in(tmp_path) == ["engine"]
    assert names_in(tmp_path / "engine") == ["old.txt"]


def test_folder_name_that_is_a_file_is_told(tmp_path):
    (tmp_path / "engine").write_text("a file")
    with refused(BadInput, tmp_path / "engine", "written"), whole_folder(tmp_path / "engine"):
        pass
    assert names_in(tmp_path) == ["engine"]


def test_json_round_trip(tmp_path):
    value = {"b": [1, 2.5, None], "a": {"é": True}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


def test_nan_is_never_written_as_json(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"miou": float("nan")})
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"", ("empty",)),
        (b"{'single': 1}", ("JSON",)),
        (b"\xff\xfe\x00", ("JSON",)),
        (b"[1, 2]", ("JSON object", "list")),
        (b"[" * TOO_DEEP + b"]" * TOO_DEEP, ("JSON",)),
    ],
    ids=["empty", "quotes", "bytes", "list", "too deep"],
)
def test_what_is_no_json_object_is_told(tmp_path, content, facts):
    (tmp_path / "a.json").write_bytes(content)
    with refused(BadInput, tmp_path / "a.json", *facts):
        read_json(tmp_path / "a.json")


def test_json_of_absurd_size_is_not_read(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(3 * 2**20)  # sparse: takes no room on the disk
    with refused(BadInput, "a.json", "3 MB", "2 MB"):
        read_json(tmp_path / "a.json", limit_mb=2)


def test_json_packed_by_xz_is_read_and_a_broken_or_swollen_one_is_told(tmp_path):
    packed = lzma.compress(b'{"a": [1, 2]}')
    (tmp_path / "a.json.xz").write_bytes(packed)
    assert read_json(tmp_path / "a.json.xz") == {"a": [1, 2]}
    for content in (packed[:-9], b'{"a": 1}'):
        (tmp_path / "a.json.xz").write_bytes(content)
        with refused(BadInput, "a.json.xz", "xz"):
            read_json(tmp_path / "a.json.xz")
    (tmp_path / "a.json.xz").write_bytes(lzma.compress(bytes(3 * 2**20)))
    with refused(BadInput, "a.json.xz", "2 MB"):
        read_json(tmp_path / "a.json.xz", limit_mb=2)


def test_json_text_names_its_origin():
    assert json_from_text("[1]", "here") == [1]
    for text in ("{", "[" * TOO_DEEP):
        with refused(BadInput, "header of x", "JSON"):
            json_from_text(text, "header of x")


def test_required_file_is_there_and_holds_something(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("x")
    assert require_file(tmp_path / "full", "a video") == tmp_path / "full"
    for path, fact in ((tmp_path / "none", "none"), (tmp_path, "folder"), (tmp_path / "empty", "empty")):
        with refused(BadInput, path, fact, "a video"):
            require_file(path, "a video")


def test_file_hash_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_json_hash_knows_no_order_of_keys():
    assert sha256_of_json({"a": 1, "b": [2]}) == sha256_of_json({"b": [2], "a": 1})
    assert sha256_of_json({"a": 1}) != sha256_of_json({"a": 1.5})
