"""Open sources by address.

`0`, `/dev/video0` or `v4l2:///dev/video0` a camera, `csi://0` one of a Jetson, each with options such as
`?size=1280x720&fps=30&format=MJPG` · `gst:PIPELINE` through GStreamer · `rtsp://` (over UDP with
`?udp`), `http(s)://` for MJPEG, HLS and files · a video file · an image, a folder or a glob of images ·
`synthetic:street,seed=1` · any labelled data set (`camvid:DIR#val`) · `file://` of those.
"""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from urllib.parse import unquote

from fcn_edge.atomic_io import require_file
from fcn_edge.data import KINDS, dataset_from_name, is_dataset_name
from fcn_edge.data.base import IMAGE_SUFFIXES
from fcn_edge.errors import BadInput
from fcn_edge.redaction import redacted
from fcn_edge.schema import nearest
from fcn_edge.streaming.sources.base import Source, none_readable
from fcn_edge.streaming.sources.cameras import (
    camera_from_csi,
    camera_from_device,
    camera_from_index,
    video_from_pipeline,
)
from fcn_edge.streaming.sources.images import ImageFiles, images_from_folder, images_from_glob
from fcn_edge.streaming.sources.labelled import LabelledImages, source_from_dataset
from fcn_edge.streaming.sources.network import Patience
from fcn_edge.streaming.sources.rtsp import video_from_rtsp
from fcn_edge.streaming.sources.video import VIDEO_SUFFIXES, video_from_file
from fcn_edge.streaming.sources.web import video_from_http

__all__ = [
    "Patience",
    "Source",
    "none_readable",
    "recordings_of",
    "source_from_dataset",
    "source_from_path",
    "source_from_uri",
]

SCHEMES = ("v4l2", "csi", "gst", "rtsp", "rtsps", "http", "https", "file")
V4L2_MAJOR = 81  # Linux, Documentation/admin-guide/devices.txt


def source_from_uri(uri: str, patience: Patience = Patience()) -> Source:  # noqa: B008 - frozen
    """Open a source of frames; this module's docstring has the grammar. patience: for live sources.

    Raises:
        BadInput: no such file or camera, a file that is not a video or image, an unknown scheme.
        BackendMissing: the source needs GStreamer, which this OpenCV does not have.
        SourceLost: a camera or stream gives no image.
    """
    if camera := re.fullmatch(r"([0-9]{1,3})(?:\?(.*))?", uri):
        return camera_from_index(int(camera[1]), camera[2] or "", uri, patience)
    if device := re.fullmatch(r"(/dev/(?:video[0-9]+|v4l/[^?]+))(?:\?(.*))?", uri):
        return camera_from_device(Path(device[1]), device[2] or "", uri, patience)
    if is_dataset_name(uri):
        return LabelledImages(dataset_from_name(_as_video(uri)), uri)
    if re.match(r"[^/\s]*:.*@", uri) and not re.match(r"gst:|[^@]*://", uri) and not os.path.exists(uri):
        shown = f"***@{uri.rpartition('@')[2]}"
        raise BadInput(f"{shown}: no such file; an address starts with its protocol, such as rtsp://")
    scheme, colon, rest = uri.partition(":")
    if colon and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme) and not os.path.exists(uri):
        return _from_scheme(scheme.lower(), rest, uri, patience)
    return _from_path(uri, uri, patience)


def source_from_path(path: Path, patience: Patience = Patience()) -> Source:  # noqa: B008 - frozen
    """Open a file or folder, even if its name is also an address. Raises as `source_from_uri`."""
    return _from_path(str(path), str(path), patience)


def recordings_of(uri: str) -> list[str]:
    """The videos of a folder or pattern, sorted by name; any other address is returned unchanged."""
    path = Path(uri)
    pattern = f"{glob.escape(str(path))}/*" if path.is_dir() else uri if _is_pattern(path) else ""
    names = glob.glob(pattern, recursive=True)
    return sorted(name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES) or [uri]


def _is_pattern(path: Path) -> bool:
    return not path.exists() and any(letter in str(path) for letter in "*?[")


def _as_video(uri: str) -> str:
    """Make a synthetic street a video unless the address sets `video`."""
    return f"{uri},video=1" if uri.startswith("synthetic:") and "video=" not in uri else uri


def _from_scheme(scheme: str, rest: str, uri: str, patience: Patience) -> Source:
    name, _, query = rest.removeprefix("//").partition("?")
    if scheme in ("rtsp", "rtsps"):
        return video_from_rtsp(uri, patience)
    if scheme in ("http", "https"):
        return video_from_http(uri, patience)
    if scheme == "gst":
        return video_from_pipeline(rest.strip(), uri, patience)
    if scheme == "csi":
        return camera_from_csi(name, query, uri, patience)
    if scheme == "v4l2":
        return camera_from_device(Path(name), query, uri, patience)
    if scheme == "file":
        return _from_path(unquote(rest.removeprefix("//")), uri, patience)
    hint = nearest(scheme, (*SCHEMES, *KINDS))
    raise BadInput(f"{redacted(uri)}: no such file, and {scheme!r} is not a type of source{hint}")


def _camera_from_character_device(path: Path, uri: str, patience: Patience) -> Source:
    """A camera under another name, such as a link to /dev/video0."""
    if os.major(path.stat().st_rdev) != V4L2_MAJOR:
        raise BadInput(f"{uri}: a device, but not a camera; cameras are /dev/videoN, or listed in /dev/v4l/by-id")
    return camera_from_device(path, "", uri, patience)


def _from_path(text: str, uri: str, patience: Patience) -> Source:
    path = Path(text)
    if not text:
        raise BadInput("the source is empty; pass a camera number, a file, a folder or an address")
    if path.is_dir():
        return images_from_folder(path, uri)
    if _is_pattern(path):
        return images_from_glob(text)
    if path.is_char_device():
        return _camera_from_character_device(path, uri, patience)
    require_file(path, "a video, an image or a folder of images")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFiles([path], uri)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return video_from_file(path, uri)
    # FFmpeg renders any text file as a video of its letters, so check the suffix.
    raise BadInput(f"{path}: the suffix is not of a video or image ({' '.join(VIDEO_SUFFIXES + IMAGE_SUFFIXES)})")
