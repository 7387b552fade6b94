"""Frames a second, end to end, of this project's pipeline and of the loops that users write today.

    python benchmarks/peers.py --source drive.mp4 --out benchmarks/peers.json
    python benchmarks/peers.py --source drive.mp4 --quick --json

The same weights on the same video, which is resized to each resolution beforehand. Video decoding, input, network
and the picture with classes drawn over it all count. All loops are open at once and take turns, so that a slow
minute of the machine falls on all alike; a loop's figure is the median of its turns. Each peer runs the plain fp32
file with full-size logits and, where it can, our INT8 file, which ends before the upsampling; the best of all
counts, and the best with the plain file is told beside it. `agreement` is the share of pixels that look the same as
those of the fp32 pipeline; below 98 % a loop draws something else and does not count (as where a wrapper takes our
score map, with its padding, for the picture). Our INT8 file also runs by schedules, which skip deep stages
(docs/benchmarks/schedules.md, where their mIoU comes from): listed separately, never counted in the ratio to the
best peer. The OpenVINO Model API (`openvino-model-api`) is used if it is installed. Without --source a synthetic street
is used.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from loops import LOOPS, OPACITY, Files, Loop, Unable

from fcn_edge.atomic_io import write_json
from fcn_edge.calibration import calibrate
from fcn_edge.device import git_commit, package_versions, this_device, usable_cpus
from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.engines.base import Engine
from fcn_edge.errors import FcnEdgeError
from fcn_edge.exporting import export
from fcn_edge.frame import Style
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.registry import PACKAGED_NETWORK, packaged_file
from fcn_edge.schedule import EVERY
from fcn_edge.schema import to_mapping
from fcn_edge.streaming import stream
from fcn_edge.streaming.sources import source_from_uri

SIZES = {"960x540": (540, 960), "1280x720": (720, 1280), "1920x1080": (1080, 1920)}
JUDGED = "1280x720"
SCHEDULES = ("fixed:2,2,6", "fixed:2,2,2,6")  # those that docs/benchmarks/schedules.md recommends
FRAMES_IN_FLIGHT = 3  # as `run` has on recordings
WARM_UP = 6  # frames of a turn that do not count: queues fill, caches warm
MAX_LEVELS = 2  # pictures are blended by different roundings
MIN_AGREEMENT = 0.98
PLAIN = "plain fp32"
PACKAGES = ("fcn-edge", "numpy", "opencv-python", "openvino", "onnxruntime", "torch", "openvino-model-api")
CLOCKWORK = Path(__file__).resolve().parent.parent / "docs" / "benchmarks" / "clockwork.json"
Pictures = Callable[[], Iterator[np.ndarray]]


@dataclass
class Contender:
    """One loop with one file. pictures: from the video's start, drawn as fast as it can."""

    loop: str
    file: str
    pictures: Pictures
    is_ours: bool = False
    schedule: str = EVERY
    fps: list[float] = field(default_factory=list)
    agreement: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a video")
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--turns", type=int, help="of each loop at each size [5; 2 with --quick]")
    parser.add_argument("--seconds", type=float, help="of a turn [2; 0.8 with --quick]")
    parser.add_argument("--quick", action="store_true", help=f"only {JUDGED}, in less than a minute")
    parser.add_argument("--out", type=Path, help="write the record here")
    parser.add_argument("--json", action="store_true", help="print the record; its last line holds the ratio")
    given = parser.parse_args()
    turns, seconds = given.turns or (2 if given.quick else 5), given.seconds or (0.8 if given.quick else 2.0)
    rows, skipped = [], {}
    with tempfile.TemporaryDirectory(prefix="fcn-edge-") as scratch:
        files = files_in(Path(scratch), given.threads)
        for name in [JUDGED] if given.quick else SIZES:
            say(f"{name}: preparing the video")
            video = video_of_size(given.source, SIZES[name], Path(scratch) / f"{name}.avi")
            with ExitStack() as engines:
                contenders, skipped = contenders_of(files, video, engines)
                take_turns(contenders, turns, seconds)
                judge_pictures(contenders)
            rows += [row_of(one, name) for one in contenders]
    record = {
        "schema": 1,
        "network": files.spec.name,
        "source": given.source.name if given.source else "synthetic street",
        "protocol": {"turns": turns, "seconds": seconds, "threads": given.threads, "warm_up_frames": WARM_UP},
        "rows": rows,
        "skipped": skipped,
        "ratios": ratios_of(rows),
        "ratios_with_plain_file": ratios_of(rows, files=(PLAIN,)),
        "ratios_with_schedule": {name: ratios_of(rows, schedule=name) for name in SCHEDULES},
        "miou_points_of_schedules": miou_points_of(SCHEDULES),
        "device": {**to_mapping(this_device()), "name": this_device().name},
        "versions": {"python": sys.version.split()[0], **package_versions(PACKAGES)},
        "commit": git_commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if given.out:
        write_json(given.out, record)
    if given.json:
        print(json.dumps(record))
        ratios = {"ratio_to_best_peer": record["ratios"][JUDGED], "resolution": JUDGED}
        ratios["ratio_to_best_peer_with_plain_file"] = record["ratios_with_plain_file"][JUDGED]
        scheduled = {name: found[JUDGED] for name, found in record["ratios_with_schedule"].items()}
        print(json.dumps({**ratios, "ratio_with_schedule": scheduled}))
    else:
        describe(record)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def files_in(folder: Path, threads: int) -> Files:
    """The packaged network's plain fp32 file, made anew, and its INT8 file from its table on the calib shelf."""
    say("making the files")
    fp32, checkpoint = packaged_file(".onnx"), packaged_file(".safetensors")
    plain, int8 = folder / "plain.onnx", folder / "int8.onnx"
    export(checkpoint, plain, head="logits", io="plain")
    calibrate(fp32, PACKAGED_NETWORK, int8, placement="x86")
    return Files(contract_from_onnx(fp32).spec, plain, int8, checkpoint, threads)


def video_of_size(source: Path | None, size: tuple[int, int], out: Path) -> Path:
    """The video at another size, as OpenCV encodes it."""
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, size[::-1])
    uri = str(source) if source else "synthetic:street,seed=3,images=48,size=540x960"
    with source_from_uri(uri) as frames:
        for frame in frames.frames():
            writer.write(cv2.resize(frame.image, size[::-1], interpolation=cv2.INTER_AREA))
    writer.release()
    return out


def contenders_of(files: Files, video: Path, engines: ExitStack) -> tuple[list[Contender], dict[str, str]]:
    """All loops that can run here, ours first, and why the others cannot."""
    contenders, skipped = [], {}
    fp32 = packaged_file(".onnx")
    every = (("int8", files.int8, "f32", EVERY), ("bf16", fp32, "bf16", EVERY), ("fp32", fp32, "f32", EVERY))
    for label, path, execution, schedule in (*every, *(("int8", files.int8, "f32", name) for name in SCHEDULES)):
        options = EngineOptions(
            execution, files.threads, FRAMES_IN_FLIGHT if schedule == EVERY else 1, schedule=schedule
        )
        try:
            engine = engines.enter_context(open_engine(path, target="openvino", options=options))
        except FcnEdgeError as error:
            skipped[f"fcn-edge run, {label}, {schedule}"] = str(error)
        else:
            contenders.append(Contender("fcn-edge run", label, pipeline_pictures(engine, video), True, schedule))
    for loop in LOOPS:
        for label, int8 in ((PLAIN, False), ("int8", True)):
            try:
                made = loop(files, int8=int8)
                next(loop_pictures(made, video)())  # what a runtime refuses it refuses here
            except Unable as reason:
                skipped[f"{loop.name}, {label}"] = str(reason)
            except Exception as error:  # runtimes refuse files each in its own way
                skipped[f"{loop.name}, {label}"] = f"{type(error).__name__}: {error}".splitlines()[0]
            else:
                contenders.append(Contender(loop.name, label, loop_pictures(made, video)))
    return contenders, skipped


def pipeline_pictures(engine: Engine, video: Path) -> Pictures:
    def pictures() -> Iterator[np.ndarray]:
        with source_from_uri(str(video)) as source:
            for result in stream(engine, source=source, style=Style(OPACITY)):
                assert result.overlay is not None
                yield result.overlay

    return pictures


def loop_pictures(loop: Loop, video: Path) -> Pictures:
    def pictures() -> Iterator[np.ndarray]:
        capture = cv2.VideoCapture(str(video))
        loop.clear()
        try:
            while True:
                is_read, image = capture.read()
                if not is_read:
                    return
                if (picture := loop.put(image)) is not None:
                    yield picture
        finally:
            capture.release()

    return pictures


def take_turns(contenders: list[Contender], turns: int, seconds: float) -> None:
    for turn in range(turns):
        for one in contenders:
            one.fps.append(frames_a_second(one.pictures, seconds))
        say(f"  turn {turn + 1} of {turns}")


def frames_a_second(pictures: Pictures, seconds: float) -> float:
    count, started = 0, 0.0
    for count, _ in enumerate(pictures()):
        now = time.perf_counter()
        if count == WARM_UP:
            started = now
        elif count > WARM_UP + 1 and now - started > seconds:
            break
    return (count - WARM_UP) / (time.perf_counter() - started)


def judge_pictures(contenders: list[Contender]) -> None:
    """How much of each loop's first picture is that of the fp32 pipeline."""
    wanted = next(one for one in contenders if one.is_ours and one.file == "fp32")
    reference = next(wanted.pictures()).astype(np.int16)
    for one in contenders:
        apart = np.abs(next(one.pictures()) - reference).max(2)
        one.agreement = float((apart <= MAX_LEVELS).mean())


def row_of(one: Contender, size: str) -> dict[str, Any]:
    return {
        "resolution": size,
        "loop": one.loop,
        "file": one.file,
        "is_ours": one.is_ours,
        "schedule": one.schedule,
        "fps": round(statistics.median(one.fps), 2),
        "fps_of_turns": [round(fps, 2) for fps in one.fps],
        "agreement": one.agreement,
    }


def ratios_of(
    rows: list[dict[str, Any]], *, files: tuple[str, ...] = (), schedule: str = EVERY
) -> dict[str, float | None]:
    """Our best figure with a schedule over the best peer's, of all their files or of these, at each resolution."""
    ratios: dict[str, float | None] = {}
    for size in dict.fromkeys(row["resolution"] for row in rows):
        same = [row for row in rows if row["resolution"] == size and row["agreement"] >= MIN_AGREEMENT]
        peers = [row["fps"] for row in same if not row["is_ours"] and (not files or row["file"] in files)]
        ours = [row["fps"] for row in same if row["is_ours"] and row["schedule"] == schedule]
        ratios[size] = round(max(ours) / max(peers), 3) if ours else None
    return ratios


def miou_points_of(schedules: tuple[str, ...]) -> dict[str, float]:
    """What each schedule costs the INT8 file on CamVid val, in points of mIoU, as benchmarks/clockwork.py found."""
    rows = json.loads(CLOCKWORK.read_text())["rows"]
    return {
        row["schedule"]: round(100 * row["difference"], 2)
        for row in rows
        if row["precision"] == "int8" and row["schedule"] in schedules
    }


def describe(record: dict[str, Any]) -> None:
    for row in record["rows"]:
        print(
            f"{row['resolution']:>9}  {row['loop']:<50} {row['file']:<10} {row['schedule']:<13} {row['fps']:6.1f} fps"
            f"  {row['agreement']:7.2%} of pixels as ours in fp32"
        )
    for name, reason in record["skipped"].items():
        print(f"skipped: {name}: {reason}")
    for size, ratio in record["ratios"].items():
        plain = record["ratios_with_plain_file"][size]
        print(f"{size}: {ratio:.2f} times the best peer, {plain:.2f} times the best with the plain file")
        for name, found in record["ratios_with_schedule"].items():
            points = record["miou_points_of_schedules"][name]
            print(f"{size}: {found[size]} times the best peer with {name}, {points:+.2f} points of mIoU on CamVid val")


if __name__ == "__main__":
    main()
