"""The commands and the Python of README and of the docs run, page by page, in a folder with the files that they name.

A block is not run where the words before it say what it needs: *Needs a camera:*, *Takes hours:*. A page whose
italic words under the title say so is not run at all. TOML blocks that begin with `# name.toml` become that file.
Pages under docs/benchmarks reproduce measurements: their commands are only parsed (tests/test_readme.py).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.test_readme import VARIABLES, words_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [path for path in PAGES if path.parent.name != "benchmarks" and path.name not in ("cli.md", "python.md")]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"\*((?:Needs|Takes) [^*]+)\*")
PAGE_MARK = re.compile(r"\A# [^\n]+\n(?:(?!^## |^```).)*?^\*(?:Needs|Every command)[^*]*\*", re.MULTILINE | re.DOTALL)
STREETS = "synthetic:street,seed=2,images=10,size=208x272"
LIMIT_S = 300
SPEC = 'class_set = "camvid"\nmean = [127.0, 127.0, 127.0]\nstd = [128.0, 128.0, 128.0]\n'

# Commands that other tests run: line -> where.
ELSEWHERE = {"fcn-edge bench --suite quick --out bench": "make gate"}
# What stands for a device that is not here, in Python.
STAND_INS = {"rtsp://camera/1": "drive.mp4"}


@dataclass(frozen=True)
class Step:
    """One block of a page. needs: why it is not run, empty where it is."""

    language: str
    text: str
    needs: str


def steps_of(page: str) -> Iterator[Step]:
    whole = "every command" if PAGE_MARK.match(page) else ""
    for block in BLOCK.finditer(page):
        before = page[: block.start()].rstrip().rpartition("\n\n")[2]
        mark = MARK.search(before)
        lines = (line.removeprefix(block[1]) for line in block[3].splitlines())
        yield Step(block[2], "\n".join(lines), whole or (mark[1] if mark else ""))


def commands_of(step: Step) -> list[str]:
    joined = step.text.replace("\\\n", " ")
    lines = (VARIABLES.sub("", line.strip()) for line in joined.splitlines())
    return [line for line in lines if line.startswith("fcn-edge ")]


def run(words: list[str], folder: Path) -> None:
    """Raises AssertionError where the command fails; skips where a package is not installed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=LIMIT_S
    )
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    answers = (0, 5) if "gate" in words else (0,)  # undecidable is an answer about these few frames
    assert done.returncode in answers, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"


def fcn_edge(line: str, folder: Path) -> None:
    run([sys.executable, "-m", "fcn_edge", *words_of(line)], folder)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What readers bring, small: videos, images, labels, networks, a record; made by the program itself."""
    pytest.importorskip("torch", reason="torch is not installed: commands of the docs were not run")
    import cv2
    import onnx

    from fcn_edge.data import open_dataset
    from fcn_edge.registry import packaged_file

    folder = tmp_path_factory.mktemp("reader")
    items = open_dataset(STREETS).items
    for name in ("images", "data/train", "data/val", "street"):
        (folder / name).mkdir(parents=True)
    for number, item in enumerate(items):
        write_pair(
            folder / "data" / ("train" if number < 8 else "val"), number, item.image(), three_classes(item.labels())
        )
        write_pair(folder / "street", number, item.image(), item.labels())
        cv2.imwrite(str(folder / f"images/{number}.png"), item.image())
    cv2.imwrite(str(folder / "street.png"), items[0].image())
    classes = {"names": ["other", "road", "car"], "palette_rgb": [[0, 0, 0], [128, 64, 128], [0, 0, 142]]}
    (folder / "data/classes.json").write_text(json.dumps(classes))
    dataset = open_dataset(STREETS)
    classes = {"names": list(dataset.classes), "palette_rgb": [list(colour) for colour in dataset.palette]}
    (folder / "street/classes.json").write_text(json.dumps(classes))

    write_sets_of_tools(folder, items)

    shutil.copy(packaged_file(".safetensors"), folder / "net.safetensors")
    fcn_edge("fcn-edge export net.safetensors --size 96x128 --out net.onnx", folder)
    fcn_edge("fcn-edge calibrate net.onnx --calib images/ --out net.int8.onnx", folder)
    fcn_edge("fcn-edge export net.safetensors --size 96x128 --head logits --io plain --out other.onnx", folder)
    plain = onnx.load(folder / "other.onnx")
    del plain.metadata_props[:]
    onnx.save(plain, folder / "other.onnx")
    (folder / "other.toml").write_text(SPEC)
    fcn_edge("fcn-edge build-engine net.onnx --out engine", folder)
    fcn_edge("fcn-edge run net.onnx --source synthetic:street,video=1,images=24,size=96x128 --sink drive.mp4", folder)
    (folder / "archive").mkdir()
    shutil.copy(folder / "drive.mp4", folder / "archive/a.mp4")
    shutil.copy(folder / "drive.mp4", folder / "street.mp4")
    streets = "synthetic:street,seed=3,images=4,size=64x96"
    fcn_edge(f"fcn-edge bench net.onnx --data {streets} --target onnxruntime --quick --out bench", folder)
    shutil.copy(folder / "bench/record.json", folder / "baseline.json")
    return folder


def write_pair(folder: Path, number: int, image, labels) -> None:
    import cv2

    for kind, pixels in (("images", image), ("labels", labels)):
        (folder / kind).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / kind / f"{number}.png"), pixels)


def write_sets_of_tools(folder: Path, items) -> None:
    """COCO files train.json and val.json of images/, and clothes/ whose files are paired by patterns."""
    import cv2

    height, width = items[0].image().shape[:2]
    road = [0, height / 2, width, height / 2, width, height, 0, height]
    for name, numbers in (("train", range(8)), ("val", range(8, 10))):
        sizes = {"width": width, "height": height}
        content = {
            "images": [{"id": number, "file_name": f"{number}.png", **sizes} for number in numbers],
            "categories": [{"id": 1, "name": "road"}],
            "annotations": [
                {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "segmentation": [road]}
                for number in numbers
            ],
        }
        (folder / f"{name}.json").write_text(json.dumps(content))
    for part in ("photos", "masks"):
        (folder / "clothes" / part).mkdir(parents=True)
    cv2.imwrite(str(folder / "clothes/photos/img_1.jpg"), items[0].image())
    cv2.imwrite(str(folder / "clothes/masks/seg_1.png"), three_classes(items[0].labels()))
    (folder / "clothes/classes.json").write_text(json.dumps({"names": ["other", "shirt", "skirt"]}))


def three_classes(labels):
    """Other, road and car, of CamVid's classes."""
    import numpy as np

    from fcn_edge.data import camvid

    road, car = camvid.CLASSES.index("road"), camvid.CLASSES.index("car")
    return np.where(labels == road, 1, np.where(labels == car, 2, 0)).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_page_runs(page, files, tmp_path):
    folder = tmp_path / "reader"
    shutil.copytree(files, folder)
    for step in steps_of(page.read_text(encoding="utf-8")):
        if step.language == "toml" and (named := re.match(r"# ([\w-]+\.toml)\n", step.text)):
            (folder / named[1]).write_text(step.text)
        elif step.language == "python" and not step.needs:
            run([sys.executable, "-c", runnable(step.text)], folder)
        elif step.language in ("sh", "console"):
            for line in commands_of(step):
                if line not in ELSEWHERE and (shorter := shortened(line, step.needs)):
                    fcn_edge(shorter, folder)


def shortened(line: str, needs: str) -> str:
    """The line to run: none where it needs a device, one epoch where it takes long."""
    if not needs:
        return line
    return f"{line} --epochs 1" if needs.startswith("Takes") and line.startswith("fcn-edge train") else ""


def runnable(code: str) -> str:
    """Python of a page, with files for devices, and the image that it speaks of."""
    for device, file in STAND_INS.items():
        code = code.replace(device, file)
    return f"import cv2\nimage = cv2.imread('street.png')\n{code}"


def test_most_commands_are_run():
    steps = [
        (step, line)
        for page in PAGES
        for step in steps_of(page.read_text(encoding="utf-8"))
        for line in commands_of(step)
    ]
    run_here = [line for step, line in steps if not step.needs and line not in ELSEWHERE]
    assert len(run_here) > 40
    assert len(run_here) > len(steps) / 2


@pytest.mark.parametrize(
    ("page", "needs"),
    [
        ("# A\n\nRun it. *Needs a camera:*\n\n```sh\nfcn-edge run\n```\n", ["Needs a camera:"]),
        ("# A\n\n*Needs a GPU.*\n\n## B\n\n```sh\nfcn-edge run\n```\n", ["every command"]),
        (
            "# A\n\nRun it:\n\n```sh\nfcn-edge run\n```\n\n*Needs a camera:*\n\n```sh\nfcn-edge run\n```\n",
            ["", "Needs a camera:"],
        ),
    ],
)
def test_marks_are_read(page, needs):
    assert [step.needs for step in steps_of(page)] == needs
