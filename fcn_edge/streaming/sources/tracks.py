"""Properties of a recording from PyAV that OpenCV does not have; nothing without PyAV."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

TIMEOUT_S = 5.0


def shown_times(path: Path) -> list[float | None] | None:
    """When each frame of the video is shown, in order, in seconds from the start of the stream; None without PyAV.

    Frames hidden by an edit list are left out. A time is None if the container has none: raw streams, and AVI
    with frames stored in another order than they are shown.
    """
    if find_spec("av") is None:
        return None
    import av

    times: list[float | None] = []
    try:
        with av.open(str(path)) as container:
            stream = _videos(container)[0]
            zero = stream.start_time or 0
            is_timed = container.format.name != "avi" or not stream.codec_context.has_b_frames
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    is_known = is_timed and packet.pts is not None
                    times.append(float((packet.pts - zero) * stream.time_base) if is_known else None)
    except (av.FFmpegError, IndexError):
        pass  # keep the times before it
    return times if None in times else sorted(times, key=lambda time: time or 0.0)


def why_no_pictures(address: str) -> str:
    """Why OpenCV cannot read a video: only sound and cover images, or an unsupported codec; "" otherwise."""
    if find_spec("av") is None:
        return ""
    import av

    try:
        with av.open(address, timeout=TIMEOUT_S) as container:
            videos, has_sound = _videos(container), bool(container.streams.audio)
            if not videos:
                return "it has sound but no video" if has_sound else "it contains no video"
            if next(container.decode(videos[0]), None) is not None:
                codec = videos[0].codec_context.codec.canonical_name
                return f"this OpenCV does not decode its codec, {codec}"
    except (av.FFmpegError, AttributeError):  # a stream without a decoder has no codec context
        pass
    return ""


def has_only_covers(address: str) -> bool:
    """Whether its images are only covers of sound files, not a video."""
    if find_spec("av") is None:
        return False
    import av

    try:
        with av.open(address, timeout=TIMEOUT_S) as container:
            return not _videos(container)
    except av.FFmpegError:
        return False


def _videos(container: Any) -> list[Any]:
    from av.stream import Disposition

    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
