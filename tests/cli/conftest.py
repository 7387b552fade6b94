"""The command line in this process, and small files for it: good ones, broken ones and foreign ones."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge import cli
from tests.refusals import assert_names

SIZE = (64, 96)
SPEC = 'class_set = "{classes}"\nmean = [127.0, 127.0, 127.0]\nstd = [128.0, 128.0, 128.0]\n'


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout; anything else there is an error."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    def refuses(self, code: int, *facts: object) -> None:
        """Assert: this exit code, and one sentence on stderr that names these facts."""
        assert self.code == code, self.err
        assert "Traceback" not in self.err
        last = self.err.rstrip("\n").splitlines()[-1]
        assert last.startswith("fcn-edge: ")
        assert_names(last, *facts)


@pytest.fixture
def command(monkeypatch, capsys) -> Callable[..., Outcome]:
    """Runs `fcn-edge WORDS` in this process."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["fcn-edge", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), printed.out, printed.err)

    return run


def write_pairs(root: Path, count: int = 4) -> Path:
    """A labelled folder of streets: images/*.jpg, labels/*.png, classes.json."""
    from fcn_edge.data import dataset_from_name

    streets = dataset_from_name(f"synthetic:street,seed=7,images={count},size={SIZE[0]}x{SIZE[1]}")
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    for index in range(count):
        item = streets.items[index]
        cv2.imwrite(str(root / "images" / f"street{index}.jpg"), item.image())
        cv2.imwrite(str(root / "labels" / f"street{index}.png"), item.labels())
    names = {"names": list(streets.classes), "palette_rgb": [list(colour) for colour in streets.palette]}
    (root / "classes.json").write_text(json.dumps(names))
    return root


@pytest.fixture(scope="session")
def pairs(tmp_path_factory) -> Path:
    """Four streets with labels; never written to."""
    return write_pairs(tmp_path_factory.mktemp("labelled") / "streets")


@pytest.fixture
def broken_pairs(pairs, tmp_path) -> Path:
    """The same, and the third picture is a text."""
    root = tmp_path / "broken"
    shutil.copytree(pairs, root)
    (root / "images" / "street2.jpg").write_bytes(b"this is no picture")
    return root


def write_video(path: Path, codec: str, count: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25.0, SIZE[::-1])
    for image in np.random.default_rng(0).integers(0, 255, (count, *SIZE, 3), np.uint8):
        writer.write(image)
    writer.release()
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory) -> Path:
    """Ten frames of noise; never written to."""
    return write_video(tmp_path_factory.mktemp("video") / "noise.mp4", "mp4v", 10)


@pytest.fixture
def cut_video(tmp_path) -> Path:
    """A recording that ends in the middle of a frame."""
    path = write_video(tmp_path / "cut.avi", "MJPG", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


@pytest.fixture
def text_file(tmp_path) -> Callable[[str], Path]:
    """A file of that name with words in it."""

    def write(name: str, text: str = "these are words\n" * 9) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def foreign_file(tmp_path) -> Path:
    """A network made elsewhere: one convolution to 11 classes at half size, NCHW float, no contract."""
    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.normal(size=(11, 3, 3, 3)).astype(np.float32), "weights")
    node = helper.make_node("Conv", ["image", "weights"], ["scores"], "score", pads=[1] * 4, strides=[2, 2])
    rows, columns = SIZE[0] // 2, SIZE[1] // 2
    graph = helper.make_graph(
        [node],
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *SIZE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 11, rows, columns])],
        [weights],
    )
    return saved(graph, tmp_path / "foreign.onnx")


@pytest.fixture
def two_inputs(tmp_path) -> Path:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, *SIZE]) for name in ("left", "right", "sum")
    ]
    node = helper.make_node("Add", ["left", "right"], ["sum"], "add")
    return saved(helper.make_graph([node], "two", values[:2], values[2:]), tmp_path / "two.onnx")


def saved(graph: Any, path: Path) -> Path:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def spec_file(text_file) -> Callable[[str], Path]:
    """A spec for `foreign_file` with a known set of classes."""
    return lambda classes: text_file(f"{classes}.toml", SPEC.format(classes=classes))


@pytest.fixture
def full_disk(monkeypatch) -> Callable[[Path], None]:
    """Below this folder no file takes another byte; names are still made, as on a real disk."""

    def fill(folder: Path) -> None:
        def failing(real: Callable[..., Any]) -> Callable[..., Any]:
            def write(path: Path, *args: Any, **options: Any) -> Any:
                if folder not in path.absolute().parents:
                    return real(path, *args, **options)
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            return write

        for name in ("write_bytes", "write_text"):
            monkeypatch.setattr(Path, name, failing(getattr(Path, name)))

    return fill
