"""What every source of frames is."""

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
    """Frames from somewhere, in order. `frames()` may be called again unless the source is live.

    uri: what to print; credentials are redacted. size: (height, width) or None where frames
    differ. fps: frames a second or None. length: number of frames or None.
    files: what the source reads, so that no sink writes over it.
    skipped: "NAME: reason" for pictures that could not be read, the first 1000 of skipped_count.
    reconnects: how often a live source was opened again; is_retrying: it is being opened again,
    and `trouble` says why. is_recorded: the next frames are there already, so that a result may wait for them.
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
        """Frames, each image (H, W, 3) uint8 BGR owned by its frame, stamped as they are handed over.

        Raises:
            BadInput: nothing in the source could be read.
            SourceLost: after the last frame that came, where more were promised.
        """
        raise NotImplementedError

    @property
    def notes(self) -> list[str]:
        """What was changed on the way in, one line a kind, such as "a.png and 2 more: grey made BGR"."""
        return [note_line(what, first, count) for what, (count, first) in self._notes.items()]

    def close(self) -> None:
        """Let go of the device or file; calling it again does nothing."""

    def _skip(self, text: str, count: int = 1) -> None:
        self.skipped_count += count
        if len(self.skipped) < SKIPPED_KEPT:
            self.skipped.append(text)

    def _begin(self) -> None:
        """Forget what an earlier pass over the same pictures told."""
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
    """The error where no picture of a source can be read; first: the reason of the first of them."""
    return BadInput(f"{uri}: none of the {count} images can be read; first {first}")


def quiet_vendors() -> None:
    """Stop OpenCV and FFmpeg from writing to stderr; what they would say ends in our own errors.

    OPENCV_LOG_LEVEL and OPENCV_FFMPEG_LOGLEVEL, where the user has set them, are left as they are.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    if "OPENCV_LOG_LEVEL" not in os.environ:
        set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # OpenCV 4, OpenCV 5
        set_level(0)  # LOG_LEVEL_SILENT
