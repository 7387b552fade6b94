"""Makes small videos of any container, timing, cut and pixel shape. Frame n is a grey of its own, with noise below."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
from av.stream import Disposition

SIZE = (48, 64)
NOISY_ROWS = 12  # so that each frame fills more of its file than its head
STEP_MS = 40
COUNT = 24
RATE = 48_000


class Container(NamedTuple):
    """How a container is written. muxer: FFmpeg's name of it; is_free: its frames may have any time in milliseconds."""

    suffix: str
    codec: str = "libx264"
    muxer: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    is_free: bool = True
    sound: str = "aac"


QUALITY = {  # so that a grey stays apart from its neighbours
    "libx264": {"crf": "12", "bf": "2"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "crf": "4", "b": "4000000"},
    "wmv2": {"qmin": "1", "qmax": "2"},
    "mpeg4": {"qmin": "1", "qmax": "2"},
    "mpeg2video": {"qmin": "1", "qmax": "2", "bf": "2"},
}
FRAGMENTS = (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)
CONTAINERS = {
    "mp4": Container(".mp4"),
    "faststart": Container(".mp4", options=(("movflags", "faststart"),)),
    "fragments": Container(".mp4", options=FRAGMENTS),
    "segments": Container(".mp4", options=(("movflags", "dash+frag_keyframe+empty_moov+skip_trailer"),)),
    "mov": Container(".mov"),
    "3gp": Container(".3gp"),
    "mkv": Container(".mkv", options=(("cluster_time_limit", "200"),)),
    "live mkv": Container(".mkv", options=(("live", "1"), ("cluster_time_limit", "200"))),
    "webm": Container(".webm", "libvpx", sound="libopus"),
    "avi": Container(".avi", "mpeg4", is_free=False, sound="mp2"),
    "ts": Container(".ts", muxer="mpegts"),
    "m2ts": Container(".m2ts", muxer="mpegts", options=(("mpegts_m2ts_mode", "1"),)),
    "flv": Container(".flv"),
    "wmv": Container(".wmv", "wmv2", muxer="asf", sound="wmav2"),
    "mpg": Container(".mpg", "mpeg2video", muxer="vob", is_free=False, sound="mp2"),
}
_STEADY = [STEP_MS * index for index in range(COUNT)]
TIMINGS = {
    "steady": _STEADY,
    "slower": [*_STEADY[:12], *(_STEADY[11] + 200 * (index + 1) for index in range(COUNT - 12))],
    "pause": [*_STEADY[:10], *(time + 1200 for time in _STEADY[10:])],
    "irregular": [index * STEP_MS + 13 * (index % 3) for index in range(COUNT)],
}
COLOURS = [(index * 9 + 20,) * 3 for index in range(COUNT)]


def write_video(
    path: Path,
    kind: str = "mp4",
    *,
    times_ms: Sequence[int] = _STEADY,
    colours: Sequence[tuple[int, int, int]] = COLOURS,
    sound_s: float = 0.0,
    pixel_shape: Fraction = Fraction(1),
    turned_by: int = 0,
) -> Path:
    """Frames of these colours (BGR), shown at these times, in groups of eight, with B-frames where the codec has them.

    sound_s: seconds of silence beside them, 0 for none.
    """
    form = CONTAINERS[kind]
    with av.open(str(path), "w", format=form.muxer, options=dict(form.options)) as container:
        video: Any = container.add_stream(form.codec, rate=1000 // STEP_MS)
        video.height, video.width = SIZE
        video.pix_fmt, video.codec_context.gop_size = "yuv420p", 8
        video.codec_context.sample_aspect_ratio, video.codec_context.thread_count = pixel_shape, 1
        video.codec_context.time_base = Fraction(1, 1000) if form.is_free else Fraction(STEP_MS, 1000)
        video.codec_context.options = QUALITY[form.codec]
        if turned_by:
            video.set_display_rotation(turned_by)
        sound: Any = container.add_stream(form.sound, rate=RATE) if sound_s else None
        for time_ms, colour in zip(times_ms, colours):
            container.mux(video.encode(_frame(time_ms, colour, video.codec_context.time_base)))
        container.mux(video.encode(None))
        for packet in _silence(sound, sound_s) if sound else ():
            container.mux(packet)
    return path


def _frame(time_ms: int, colour: tuple[int, int, int], time_base: Fraction) -> av.VideoFrame:
    picture = np.full((*SIZE, 3), colour, np.uint8)
    picture[-NOISY_ROWS:] = np.random.default_rng(time_ms).integers(0, 255, (NOISY_ROWS, SIZE[1], 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
    frame.pts, frame.time_base = round(Fraction(time_ms, 1000) / time_base), time_base
    return frame


def _silence(stream: Any, seconds: float) -> Iterator[av.Packet]:
    size = stream.codec_context.frame_size or 1024
    for start in range(0, round(seconds * RATE), size):
        channels = stream.codec_context.layout.nb_channels
        data = np.zeros((channels, size), np.float32)
        frame = av.AudioFrame.from_ndarray(data, format="fltp", layout=stream.codec_context.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def write_sound(path: Path, *, cover: bool = False) -> Path:
    """A second of silence in MP4, with a picture on its cover if asked."""
    with av.open(str(path), "w") as container:
        sound: Any = container.add_stream("aac", rate=RATE)
        if cover:
            picture: Any = container.add_stream("png", rate=1)
            picture.height, picture.width, picture.pix_fmt = *SIZE, "rgb24"
            picture.disposition = Disposition.attached_pic
            container.mux(picture.encode(_frame(0, (9, 9, 9), Fraction(1, 1)).reformat(format="rgb24")))
        for packet in _silence(sound, 1.0):
            container.mux(packet)
    return path


def cut_with_edit_list(video: Path, path: Path, start_s: float) -> Path:
    """The same packets without those before the key frame, as `ffmpeg -ss -c copy` has it: an edit list hides some."""
    with av.open(str(video)) as source, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as target:
        stream: Any = source.streams.video[0]
        copy: Any = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                shift = round(Fraction(start_s) / stream.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                target.mux(packet)
    return path


def with_hole(video: Path, path: Path) -> Path:
    """The same file with a tenth of its bytes, in the middle, overwritten by zeros."""
    data = bytearray(video.read_bytes())
    middle, length = len(data) // 2, len(data) // 10
    data[middle : middle + length] = bytes(length)
    path.write_bytes(data)
    return path


def cut_at(video: Path, path: Path, share: float) -> Path:
    """The first part of the file, as a broken download or a full disk leaves it."""
    data = video.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
    return path


def times_by_ffprobe(path: Path) -> list[float]:
    """Seconds from the first frame to each, NaN where it knows none, by the tool. Skips the test without it."""
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    command = ["ffprobe", "-v", "quiet", "-select_streams", "v:0", "-of", "json"]
    told = subprocess.run(
        [*command, "-show_entries", "frame=best_effort_timestamp_time", str(path)], capture_output=True, check=True
    )
    times = [float(frame.get("best_effort_timestamp_time", "nan")) for frame in json.loads(told.stdout)["frames"]]
    return [time - times[0] for time in times]
