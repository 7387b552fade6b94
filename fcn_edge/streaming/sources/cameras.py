"""Local cameras and GStreamer pipelines, through OpenCV."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import cv2
import numpy as np

from fcn_edge.errors import BackendMissing, BadInput, SourceLost
from fcn_edge.redaction import redacted
from fcn_edge.schema import nearest
from fcn_edge.streaming.sources.network import Connection, NetworkSource, Patience, Unreachable
from fcn_edge.streaming.sources.video import fps_of, image_from_capture, opened_capture

# Timeouts of FFmpeg and GStreamer, which end abandoned connections; the limit for a live source is shorter.
TIMEOUTS = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5_000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 5_000)
APPSINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1"
CSI = (
    "nvarguscamerasrc sensor-id={index} ! video/x-raw(memory:NVMM),width={width},height={height},framerate={fps}/1"
    " ! nvvidconv ! video/x-raw,format=BGRx ! " + APPSINK
)
CSI_DEFAULT = (720, 1280, 30)
FORMATS = ("MJPG", "YUYV")


@dataclass(frozen=True)
class CameraOptions:
    """Requested settings of a camera; None for the camera's default. size: (height, width). format: its FourCC."""

    size: tuple[int, int] | None = None
    fps: int | None = None
    format: str | None = None


class OpenCvConnection(Connection):
    """A connection of cv2.VideoCapture."""

    def __init__(self, address: str | int, backend: int, settings: Sequence[int] = ()) -> None:
        """settings: pairs of a property and its value. Raises SourceLost if it does not open."""
        super().__init__()
        self.capture = opened_capture(address, backend, tuple(settings))
        if not self.capture.isOpened():
            self.capture.release()
            raise SourceLost("gives no image; check that it is connected, on, and not in use")
        self.fps = fps_of(self.capture)

    def read(self) -> np.ndarray | None:
        return image_from_capture(self.capture)

    def close(self) -> None:
        self.capture.release()


class FfmpegConnection(OpenCvConnection):
    """A network stream, read by OpenCV's FFmpeg."""

    def __init__(self, address: str, *, is_paced: bool = False) -> None:
        # One thread: each further thread delays FFmpeg's decoders by one frame.
        super().__init__(address, cv2.CAP_FFMPEG, (*TIMEOUTS, cv2.CAP_PROP_N_THREADS, 1))
        self.is_paced = is_paced

    def position_s(self) -> float | None:
        return float(self.capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


class V4l2Connection(OpenCvConnection):
    """A V4L2 device with a buffer of one image; notes if its format differs from the requested one."""

    def __init__(self, device: Path, options: CameraOptions) -> None:
        if not device.exists():
            raise Unreachable(f"{device} no longer exists; check that it is plugged in")
        super().__init__(str(device), cv2.CAP_V4L2, _v4l2_settings(options))
        self.note = self._difference_to(options)

    def _difference_to(self, requested: CameraOptions) -> str:
        """Settings that differ from the request. Drivers change unsupported settings without an error."""
        code = int(self.capture.get(cv2.CAP_PROP_FOURCC))
        actual = CameraOptions(
            (int(self.capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(self.capture.get(cv2.CAP_PROP_FRAME_WIDTH))),
            round(self.fps or 0),
            code.to_bytes(4, "little").decode("ascii", "replace") if code > 0 else "",
        )
        words = []
        if requested.size not in (None, actual.size) and actual.size:
            words.append(f"{actual.size[1]}x{actual.size[0]}")
        if requested.fps not in (None, actual.fps):
            words.append(f"{actual.fps} fps")
        if requested.format not in (None, actual.format) and actual.format:
            words.append(actual.format)
        return f"the camera gives {', '.join(words)} instead of the requested settings" if words else ""


def camera_from_index(index: int, query: str, uri: str, patience: Patience) -> NetworkSource:
    """Camera `index` of the system."""
    if sys.platform.startswith("linux"):
        return camera_from_device(Path(f"/dev/video{index}"), query, uri, patience)
    settings = _v4l2_settings(camera_options(query, uri))
    return NetworkSource(lambda: OpenCvConnection(index, cv2.CAP_ANY, settings), uri, patience)


def camera_from_device(device: Path, query: str, uri: str, patience: Patience) -> NetworkSource:
    """A V4L2 device. Raises BadInput with the available cameras if it is missing."""
    options = camera_options(query, uri)
    if not device.exists() and not patience.awaited:
        available = ", ".join(sorted(str(path) for path in device.parent.glob("video*"))) or "none"
        raise BadInput(f"{uri}: no camera {device}; available cameras: {available}")
    return NetworkSource(lambda: V4l2Connection(device, options), uri, patience)


def camera_options(query: str, uri: str) -> CameraOptions:
    """From "size=1280x720&fps=30&format=MJPG". Raises BadInput."""
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    for key in pairs:
        if key not in ("size", "fps", "format"):
            raise BadInput(f"{uri}: unknown option {key!r}{nearest(key, ('size', 'fps', 'format'))}")
    size = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", pairs.get("size", "1x1"))
    fps = re.fullmatch(r"[1-9][0-9]{0,2}", pairs.get("fps", "1"))
    if size is None or fps is None:
        raise BadInput(f"{uri}: write size=WIDTHxHEIGHT and fps=N, such as size=1280x720&fps=30")
    if pairs.get("format", FORMATS[0]).upper() not in FORMATS:
        raise BadInput(f"{uri}: format {pairs['format']!r}; known: {', '.join(FORMATS)}")
    return CameraOptions(
        (int(size[2]), int(size[1])) if "size" in pairs else None,
        int(fps[0]) if "fps" in pairs else None,
        pairs["format"].upper() if "format" in pairs else None,
    )


def _v4l2_settings(options: CameraOptions) -> list[int]:
    """Properties for OpenCV; the format first, since sizes depend on it."""
    settings = []
    if options.format is not None:
        settings += [cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*options.format)]
    if options.size is not None:
        height, width = options.size
        settings += [cv2.CAP_PROP_FRAME_WIDTH, width, cv2.CAP_PROP_FRAME_HEIGHT, height]
    if options.fps is not None:
        settings += [cv2.CAP_PROP_FPS, options.fps]
    return [*settings, cv2.CAP_PROP_BUFFERSIZE, 1]


def camera_from_csi(text: str, query: str, uri: str, patience: Patience) -> NetworkSource:
    """A CSI camera of a Jetson through GStreamer, 1280x720 at 30 fps by default."""
    if not re.fullmatch("[0-9]{1,2}", text):
        raise BadInput(f"{uri}: the address of a CSI camera is csi://N with N from 0")
    options = camera_options(query, uri)
    if options.format is not None:
        raise BadInput(f"{uri}: a CSI camera has no format option; remove it")
    height, width = options.size or CSI_DEFAULT[:2]
    pipeline = CSI.format(index=text, width=width, height=height, fps=options.fps or CSI_DEFAULT[2])
    return video_from_pipeline(pipeline, uri, patience)


def video_from_pipeline(pipeline: str, uri: str, patience: Patience) -> NetworkSource:
    """A GStreamer pipeline that ends in an appsink. Raises BackendMissing without GStreamer in OpenCV."""
    shown = redacted(uri)
    if not has_gstreamer():
        raise BackendMissing(
            f"{shown}: needs OpenCV with GStreamer; the installed OpenCV {cv2.__version__} has none"
            " (pip wheels have none; JetPack's OpenCV has: install fcn-edge[jetson] with it)"
        )
    if "appsink" not in pipeline:
        raise BadInput(f"{shown}: the pipeline does not end in an appsink; append '! {APPSINK}'")
    return NetworkSource(lambda: OpenCvConnection(pipeline, cv2.CAP_GSTREAMER, TIMEOUTS), uri, patience)


def has_gstreamer() -> bool:
    """Whether this OpenCV can open GStreamer pipelines."""
    return re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is not None
