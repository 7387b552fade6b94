"""No verb writes over what it reads, or over what fcn-edge did not write; its own files it writes again."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcn_edge.atomic_io import write_json
from tests.benchrecords import record
from tests.refusals import assert_names

SET = 'source = "streets/images"\n'
ALIASES = ("itself", "link", "hard link", "round about")


@pytest.fixture
def work(tmp_path, monkeypatch, checkpoint_file, onnx_file, table_file, foreign_file, spec_file, pairs, video):
    """The current folder: a checkpoint, its ONNX file and table, labelled streets, a video, records, sets."""
    for source, name in ((checkpoint_file, "net.safetensors"), (onnx_file, "net.onnx"), (table_file, "t.table.json")):
        shutil.copy(source, tmp_path / name)
    spec_file("camvid")
    shutil.copy(video, tmp_path / "v.mp4")
    shutil.copytree(pairs, tmp_path / "streets")
    (tmp_path / "set.toml").write_text(SET)
    (tmp_path / "run.toml").write_text("limit = 2\n")
    for name in ("now.json", "then.json"):
        record().save(tmp_path / name)
    engine = tmp_path / "engine"
    engine.mkdir()
    shutil.copy(onnx_file, engine / "model.onnx")
    shutil.copy(table_file, engine / "table.json")
    write_json(engine / "manifest.json", {"schema": 1, "plan_sha256": ""})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    """Path -> hash of every file, wherever links lead."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refusal(command, work, words):
    before = contents(work)
    done = command(*words)
    done.refuses(2)
    assert contents(work) == before
    assert not [path for path in work.rglob("*") if ".part" in path.name or "recording" in path.name]
    return done.err


def alias_of(path: Path, kind: str, suffix: str) -> str:
    """Another name of a file or folder, ending in that suffix."""
    if kind == "link":
        os.symlink(path.name, f"alias{suffix}")
    elif kind == "hard link":
        os.link(path, f"alias{suffix}")
    elif kind == "round about":
        return f"./streets/../{path.name}"
    return path.name if kind == "itself" else f"alias{suffix}"


# words, with OUT for the output; the input that it is; the suffix that an alias of it has to have
IS_AN_INPUT = {
    "export": ("export foreign.onnx --spec camvid.toml --out OUT", "foreign.onnx", ".onnx"),
    "calibrate": ("calibrate net.onnx --calib t.table.json --out OUT", "net.onnx", ".onnx"),
    "calibrate, its table": ("calibrate net.onnx --calib OUT --out t.onnx", "t.table.json", ".table.json"),
    "calibrate --save-set": ("calibrate net.onnx --calib set.toml --out o.onnx --save-set OUT", "set.toml", ".toml"),
    "calibrate --dla-cache": ("calibrate net.onnx --calib t.table.json --out o.onnx --dla-cache OUT", "net.onnx", ""),
    "train": (
        "train fcn4s_lite0_camvid --data folder:streets --start net.safetensors --out OUT",
        "net.safetensors",
        ".safetensors",
    ),
    "run, a video": ("run net.onnx --source v.mp4 --sink OUT", "v.mp4", ".mp4"),
    "run, two sources": ("run net.onnx --source streets/images --source v.mp4 --sink OUT", "v.mp4", ".mp4"),
    "run --log": ("run net.onnx --source v.mp4 --sink null: --log OUT", "v.mp4", ".log"),
    "run --events": ("run net.onnx --source v.mp4 --sink null: --event road>1% --events OUT", "net.onnx", ".jsonl"),
    "run --config": ("run net.onnx --config run.toml --source v.mp4 --sink null: --log OUT", "run.toml", ".log"),
    "gate --junit": ("gate now.json --baseline then.json --junit OUT", "then.json", ".xml"),
    "gate --summary": ("gate now.json --baseline then.json --summary OUT", "now.json", ".md"),
    "gate --update": ("gate now.json --baseline OUT --update --reason enough-words-here", "now.json", ".json"),
}


UNDER_EVERY_NAME = ("export", "calibrate, its table", "run, a video", "gate --update")  # the others under two


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "alias"),
    [(case, alias) for case in IS_AN_INPUT for alias in (ALIASES if case in UNDER_EVERY_NAME else ALIASES[:2])],
)
def test_output_that_is_an_input_is_refused_by_identity(command, work, case, alias):
    words, name, suffix = IS_AN_INPUT[case]
    if case == "calibrate, its table" and alias != "itself":
        shutil.move(name, "given.table.json")  # the table that would be written is another name of it
        name = alias_of(Path("given.table.json"), alias, suffix)
        Path("t.table.json").unlink(missing_ok=True)
        os.symlink("given.table.json", "t.table.json")
        out = name
    else:
        out = alias_of(Path(name), alias, suffix)
    assert_names(refusal(command, work, words.replace("OUT", out).split()), "read")


FOLDERS = {
    "run, masks beside the pictures": ("run net.onnx --source streets/images --sink streets/images/", "streets"),
    "run, a glob": ("run net.onnx --source streets/images/*.jpg --sink streets/images", "streets"),
    "compare": ("compare net.onnx net.onnx --images streets/images --out streets/images", "streets"),
    "bench": ("bench net.onnx --data folder:streets --out streets", "streets"),
    "build-engine, its own graph": ("build-engine engine/model.onnx --out engine", "engine"),
    "build-engine, its own table": (
        "build-engine net.onnx --target onnxruntime --precision int8 --calib engine/table.json --out engine",
        "engine",
    ),
    "bench --files": (
        "bench net.onnx net.int8.onnx --data folder:streets --allow-overlap --calib streets/images --files . --prepare",
        "INT8 file",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", FOLDERS)
def test_folder_that_is_an_input_or_holds_one_is_refused(command, work, int8_file, case):
    shutil.copy(int8_file, "net.int8.onnx")
    refusal(command, work, FOLDERS[case][0].split())


@pytest.mark.slow
def test_files_that_would_be_written_twice_are_refused(command, work):
    words = shlex.split("run net.onnx --source v.mp4 --sink")
    refusal(command, work, [*words, "o.mp4", "--sink", "./o.mp4"])
    refusal(command, work, [*words, "o.jsonl", "--log", "o.jsonl"])


# words, and the file that a user made where the output would go
IS_FOREIGN = {
    "export": ("export net.safetensors --out o.onnx", "o.onnx"),
    "calibrate": ("calibrate net.onnx --calib t.table.json --out o.onnx", "o.onnx"),
    "calibrate, its table": ("calibrate net.onnx --calib t.table.json --out o.onnx", "o.table.json"),
    "calibrate --save-set": ("calibrate net.onnx --calib streets/images --out o.onnx --save-set s.toml", "s.toml"),
    "build-engine": ("build-engine net.onnx --target onnxruntime --out e", "e/notes.txt"),
    "build-engine, more than an engine": ("build-engine net.onnx --target onnxruntime --out engine", "engine/notes"),
    "build-engine, its budget": (
        "build-engine net.onnx --target onnxruntime --precision int8 --calib t.table.json --data folder:streets"
        " --max-miou-drop 1 --out e",
        "e.budget.json",
    ),
    "train": ("train fcn4s_lite0_camvid --data folder:streets --out o.safetensors", "o.safetensors"),
    "train, its record": (
        "train fcn4s_lite0_camvid --data folder:streets --out o.safetensors",
        "o.safetensors.record.json",
    ),
    "train, its curves": (
        "train fcn4s_lite0_camvid --data folder:streets --out o.safetensors",
        "o.safetensors.record.png",
    ),
    "run, mp4": ("run net.onnx --source v.mp4 --sink o.mp4", "o.mp4"),
    "run, mkv": ("run net.onnx --source v.mp4 --sink o.mkv", "o.mkv"),
    "run, lines": ("run net.onnx --source v.mp4 --sink o.jsonl", "o.jsonl"),
    "run, masks": ("run net.onnx --source streets/images --sink labels/", "labels/street1.png"),
    "run, masks among others": ("run net.onnx --source streets/images --sink labels/", "labels/notes.txt"),
    "run, masks of that pattern": ("run net.onnx --source streets/images --sink labels/*_m.png", "labels/a_m.png"),
    "run --log": ("run net.onnx --source v.mp4 --sink null: --log o.log", "o.log"),
    "run --log, an old one": ("run net.onnx --source v.mp4 --sink null: --log o.log", "o.log.2"),
    "run --events": ("run net.onnx --source v.mp4 --sink null: --event road>1% --events o.jsonl", "o.jsonl"),
    "gate --junit": ("gate now.json --baseline then.json --junit o.xml", "o.xml"),
    "gate --update": ("gate now.json --baseline o.json --update --reason enough-words-here", "o.json"),
    "compare": ("compare net.onnx net.onnx --images streets/images --out o", "o/compare.json"),
    "compare, its picture": ("compare net.onnx net.onnx --images streets/images --out o", "o/disagreement.png"),
    "export-deepstream": ("export-deepstream net.onnx --out o", "o/labels.txt"),
    "export-triton": ("export-triton net.onnx --out o --name n", "o/n/labels.txt"),
    "demo": ("demo --source v.mp4 --out o", "o/street.mp4"),
    "demo, its page": ("demo --source v.mp4 --out o", "o/report.md"),
    **{
        f"bench, {name}": ("bench net.onnx --data folder:streets --out o", f"o/{name}")
        for name in ("record.json", "record.csv", "record.md", "record.html", "unfinished.json", "samples/labels.jpg")
    },
    "bench --files": (
        "bench net.onnx --data folder:streets --calib streets/images --allow-overlap --files o --prepare",
        "o/net.int8.onnx",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", IS_FOREIGN)
def test_file_of_the_users_own_is_not_replaced(command, work, case):
    words, name = IS_FOREIGN[case]
    Path(name).parent.mkdir(exist_ok=True, parents=True)
    Path(name).write_text('{"made": "by hand"}')
    refusal(command, work, words.split())


AGAIN = {
    "run": "run net.onnx --source v.mp4 --sink o.mp4 --sink o.mkv --sink o.jsonl --sink masks/ --log o.log"
    " --event road>1% --events events.jsonl",
    "run, masks beside others": "run net.onnx --source streets/images --sink streets/labels/*_mask.png",
    "export": "export net.safetensors --out o.onnx",
    "calibrate": "calibrate net.onnx --calib t.table.json --out o.onnx --save-set s.toml --dla-cache o.cache",
    "gate --junit": "gate now.json --baseline then.json --junit o.xml --summary o.md",
    "gate --update": "gate now.json --baseline then.json --update --reason enough-words-here",
    "compare": "compare net.onnx net.onnx --images streets/images --count 1 --out o",
}


@pytest.mark.slow
@pytest.mark.parametrize("case", AGAIN)
def test_same_command_works_again(command, work, case):
    before = contents(work)
    for _ in range(2):
        assert command(*AGAIN[case].split()).code == 0
    after = contents(work)
    assert {name: after[name] for name in before if name != "then.json"} == {
        name: before[name] for name in before if name != "then.json"
    }


@pytest.mark.slow
def test_mask_that_was_corrected_by_hand_is_kept(command, work):
    words = shlex.split("run net.onnx --source streets/images --sink masks/")
    assert command(*words).code == 0
    mask = Path("masks/street1.png")
    from PIL import Image

    with Image.open(mask) as image:
        pixels, palette, info = np.array(image), image.getpalette(), dict(image.info)
    pixels[0, 0] ^= 1
    corrected = Image.fromarray(pixels, "P")
    corrected.putpalette(palette)
    from PIL.PngImagePlugin import PngInfo

    kept = PngInfo()
    kept.add_text("Software", info["Software"])  # an editor that keeps what it does not know
    corrected.save(mask, pnginfo=kept)
    assert "street1.png" in refusal(command, work, words)


@pytest.mark.slow
def test_masks_are_labels_as_before(command, work):
    assert command(*shlex.split("run net.onnx --source streets/images --sink masks/")).code == 0
    assert sorted(os.listdir("masks")) == [f"street{n}.png" for n in range(4)]
    assert cv2.imread("masks/street0.png").shape == cv2.imread("streets/images/street0.jpg").shape


def test_lines_of_a_killed_run_are_kept(command, work):
    Path("o.recording.jsonl").write_text('{"time": "then"}\n')
    assert command(*shlex.split("run net.onnx --source v.mp4 --sink o.jsonl")).code == 0
    assert Path("o.killed-1.jsonl").read_text() == '{"time": "then"}\n'
    assert len(Path("o.jsonl").read_text().splitlines()) == 10


def test_trained_checkpoint_without_its_state_is_kept(command, work):
    words = shlex.split("train fcn4s_lite0_camvid --data folder:streets --out net.safetensors")
    assert "net.safetensors.state" in refusal(command, work, words)


def test_current_folder_is_never_replaced(command, work, monkeypatch):
    monkeypatch.chdir(work / "engine")
    before = contents(work)
    command("build-engine", "../net.onnx", "--target", "onnxruntime", "--out", ".").refuses(2, "current folder")
    assert contents(work) == before


def test_json_tells_the_refusal(command, work):
    done = command(*shlex.split("run net.onnx --source v.mp4 --sink v.mp4 --json"))
    assert json.loads(done.out)["exit_code"] == 2 and "v.mp4" in json.loads(done.out)["error"]


@pytest.mark.parametrize("verb", ["export", "calibrate"])
def test_output_is_named_like_an_onnx_file(command, checkpoint_file, onnx_file, pairs, tmp_path, verb):
    source, rest = (checkpoint_file, []) if verb == "export" else (onnx_file, ["--calib", pairs])
    out = tmp_path / "net.safetensors"
    command(verb, source, "--out", out, *rest).refuses(2, "net.safetensors", ".onnx")
    assert not out.exists()


class TestFullDisk:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, full_disk):
        folder = tmp_path / "full"
        folder.mkdir()
        full_disk(folder)
        yield folder
        assert list(folder.iterdir()) == []  # not even a part of a file

    @pytest.mark.slow
    def test_export(self, command, checkpoint_file, folder):
        out = folder / "net.onnx"
        command("export", checkpoint_file, "--out", out).refuses(2, out, "disk")

    @pytest.mark.slow
    def test_calibrate(self, command, onnx_file, table_file, folder):
        out = folder / "net.onnx"
        command("calibrate", onnx_file, "--calib", table_file, "--out", out).refuses(2, out, "disk")

    @pytest.mark.parametrize("precision", ["fp32", "int8"])
    def test_build_engine(self, command, onnx_file, table_file, folder, precision):
        out = folder / "engine"
        words = ["build-engine", onnx_file, "--target", "onnxruntime", "--precision", precision, "--out", out]
        words += ["--calib", table_file] if precision == "int8" else []
        command(*words).refuses(2, out, "disk")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["export", "calibrate", "build-engine"])
def test_file_in_the_place_of_a_folder_is_told(command, checkpoint_file, onnx_file, table_file, text_file, verb):
    out = text_file("notes.txt") / "made.onnx"
    rest = {"export": [], "calibrate": ["--calib", table_file], "build-engine": ["--target", "onnxruntime"]}[verb]
    source = checkpoint_file if verb == "export" else onnx_file
    command(verb, source, *rest, "--out", out).refuses(2, "notes.txt")
