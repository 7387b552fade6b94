"""The interface of all sources."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2

from fcn_edge.data.notes import note_line
from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame
from fcn_edge.redaction import redacted

SKIPPED_KEPT = 1000


class Source:
    """Frames in order. `frames()` may be called again unless the source is live.

    uri: for messages; credentials are redacted. size: (height, width) or None if frames
    differ. fps: frames per second or None. length: number of frames or None.
    files: input files of the source, which no sink overwrites.
    skipped: "NAME: reason" for images that could not be read, the first 1000 of skipped_count.
    reconnects: how often a live source was opened again; is_retrying: it is being opened again
    because of `trouble`. is_recorded: the next frames are already available, so that a result may wait for them.
    """

    is_live = False
    is_recorded = True
    is_retrying = False
    trouble = ""

    def __init__(self, uri: str) -> None:
        self.uri = redacted(uri)
        self.size: tuple[int, int] | None = None
        self.fps: float | None = None
        self.length: int | None = None
        self.files: tuple[Path, ...] = ()
        self.skipped: list[str] = []
        self.skipped_count = 0
        self.reconnects = 0
        self._notes: dict[str, tuple[int, str]] = {}

    def frames(self) -> Iterator[Frame]:
        """Frames, each image (H, W, 3) uint8 BGR owned by its frame, time-stamped on delivery.

        Raises:
            BadInput: nothing in the source could be read.
            SourceLost: after the last frame, if the source ended early.
        """
        raise NotImplementedError

    @property
    def notes(self) -> list[str]:
        """Changes made to images, one line per kind, such as "a.png and 2 more: grey made BGR"."""
        return [note_line(what, first, count) for what, (count, first) in self._notes.items()]

    def close(self) -> None:
        """Release the device or file; calling it again does nothing."""

    def _skip(self, text: str, count: int = 1) -> None:
        self.skipped_count += count
        if len(self.skipped) < SKIPPED_KEPT:
            self.skipped.append(text)

    def _begin(self) -> None:
        """Reset the records of an earlier pass over the same images."""
        self.skipped.clear()
        self.skipped_count = 0
        self._notes.clear()

    def _note(self, what: str, name: str, times: int = 1) -> None:
        count, first = self._notes.get(what, (0, name))
        self._notes[what] = (count + times, first)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def none_readable(uri: str, count: int, first: str) -> BadInput:
    """The error if no image of a source can be read; first: the reason for the first image."""
    return BadInput(f"{uri}: none of the {count} images can be read; first: {first}")


def quiet_vendors() -> None:
    """Stop OpenCV and FFmpeg from writing to stderr; failures are raised as errors.

    OPENCV_LOG_LEVEL and OPENCV_FFMPEG_LOGLEVEL are unchanged if the user has set them.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    if "OPENCV_LOG_LEVEL" not in os.environ:
        set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # OpenCV 4, OpenCV 5
        set_level(0)  # LOG_LEVEL_SILENT
