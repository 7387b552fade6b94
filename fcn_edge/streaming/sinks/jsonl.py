"""JSON lines: class shares of each frame (FILE.jsonl), and events of rules."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame, Result
from fcn_edge.outputs import require_apart, require_lines, require_outputs
from fcn_edge.spec import ModelSpec
from fcn_edge.streaming.clock import StreamClock
from fcn_edge.streaming.regions import Change, Cover, Watches
from fcn_edge.streaming.sinks.base import Sink, require_writable
from fcn_edge.streaming.sinks.unfinished import keep_unfinished, lock, unfinished_name

FILE_BYTES = 32 * 2**20
OLD_FILES = 4  # NAME.1 … NAME.4: at most 160 MB with the current file
RECENT = 50
DIGITS = 5


class LineFile(RotatingFileHandler):
    """Appends lines to a file; rotates it unless `is_endless`."""

    def __init__(self, path: Path, *, is_endless: bool) -> None:
        """Raises BadInput if an existing file was not written by fcn-edge."""
        require_lines(path, "jsonl", OLD_FILES if is_endless else 0)
        most = FILE_BYTES if is_endless else 0
        super().__init__(path, "a" if is_endless else "w", maxBytes=most, backupCount=OLD_FILES, encoding="utf-8")
        if not is_endless and self.stream is not None:
            lock(self.stream)

    def add(self, value: Mapping[str, Any]) -> None:
        """Append a line. Raises OSError, which `emit` would suppress."""
        record = logging.makeLogRecord({"msg": json.dumps(value, allow_nan=False)})
        if self.shouldRollover(record):
            self.doRollover()
        if self.stream is None:  # opening failed after a rotation
            self.stream = self._open()
        self.stream.write(record.getMessage() + self.terminator)
        self.flush()


class Statistics(Sink):
    """One line per frame: share of each class in the image and in each region.

    For a recording the file is called NAME.recording.jsonl until it is complete; for a live stream lines are appended,
    and old lines are rotated out.
    """

    def __init__(
        self,
        path: Path,
        spec: ModelSpec,
        clock: StreamClock,
        cover: Cover,
        *,
        source: str,
        is_live: bool,
        protected: Sequence[Path] = (),
    ) -> None:
        """protected: files to keep. Raises BadInput if the file is one of these, or not written by fcn-edge."""
        super().__init__(str(path))
        require_outputs([path], protected)
        require_apart([unfinished_name(path)], protected)
        require_writable(path.parent)
        self._path, self._spec, self._clock, self._cover, self._source = path, spec, clock, cover, source
        self._part = path if is_live else unfinished_name(path)
        self._file: LineFile | None = None
        if not is_live and (kept := keep_unfinished(path)):
            self.notes.append(f"{path.name}: {kept}")

    def write(self, result: Result) -> None:
        shares = self._cover.shares(result)
        line = {
            **moment(result.frame, self._clock),
            "source": self._source,
            "age_ms": round(result.times.age_ns / 1e6, 3),
            "shares": self._named(shares.pop(None)),
            "regions": {str(name): self._named(share) for name, share in shares.items()},
        }
        try:
            if self._file is None:
                self._file = LineFile(self._part, is_endless=self._part == self._path)
            self._file.add(line)
        except OSError as error:
            raise BadInput(f"{self._path}: cannot write ({error.strerror or error})") from error
        self.count += 1

    def _named(self, shares: np.ndarray) -> dict[str, float]:
        """Shares of the classes that are present; all others are 0."""
        return {self._spec.classes[i]: round(float(shares[i]), DIGITS) for i in np.flatnonzero(shares)}

    def close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        except OSError as error:
            raise BadInput(f"{self._path}: cannot write ({error.strerror or error})") from error
        finally:
            if self._part != self._path:
                os.replace(self._part, self._path)

    def discard(self) -> None:
        """Keep the written lines."""
        self.close()

    def describe(self) -> str:
        return f"{self._path}: {self.count} lines"


class EventLog:
    """Events of all streams: lines in a file, and a list of the newest."""

    def __init__(self, path: Path | None) -> None:
        """path: None for standard error. Raises BadInput if it cannot be written."""
        self.path = path
        self.count = 0
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._lock = threading.Lock()
        self._file: LineFile | None = None
        if path is not None:
            require_writable(path.parent)
            self._file = LineFile(path, is_endless=True)

    def add(self, event: Mapping[str, Any]) -> None:
        """Raises BadInput if it cannot be written."""
        with self._lock:
            self._recent.append({"number": self.count, **event})
            self.count += 1
            if self._file is None:
                logging.getLogger(__name__).warning(json.dumps(event))
                return
            try:
                self._file.add(event)
            except OSError as error:
                raise BadInput(f"{self.path}: cannot write ({error.strerror or error})") from error

    def recent(self) -> Sequence[Mapping[str, Any]]:
        with self._lock:
            return list(self._recent)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Events(Sink):
    """Evaluates the rules on one stream."""

    def __init__(
        self, log: EventLog, watches: Watches, clock: StreamClock, cover: Cover, *, source: str, stream: int
    ) -> None:
        super().__init__(f"events:{stream}")
        self._log, self._clock, self._cover, self._source = log, clock, cover, source
        self._watches = watches

    def write(self, result: Result) -> None:
        def tell(change: Change) -> None:
            self._log.add({**moment(result.frame, self._clock), "source": self._source, **_change_fields(change)})
            self.count += change.has_begun

        self._watches.see(self._cover.shares(result), self._clock.seconds(result.frame), tell)

    def close(self) -> None:
        self._log.close()

    def describe(self) -> str:
        return f"{self._log.path or 'standard error'}: {self.count} events of {self._source}"


def moment(frame: Frame, clock: StreamClock) -> dict[str, Any]:
    """Index and time of a frame, by this machine's clock and by the stream's."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return {"time": now, "stream": frame.stream, "frame": frame.index, "at_s": round(clock.seconds(frame), 3)}


def _change_fields(change: Change) -> dict[str, Any]:
    return {
        "event": change.rule.text,
        "state": "began" if change.has_begun else "ended",
        "share": round(change.share, DIGITS),
        "since_s": round(change.since_s, 3),
    }
