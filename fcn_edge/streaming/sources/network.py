"""Live sources: they have no end; after a timeout, hang or format change they are opened again.

A connection is opened and read in its own thread, so that one that hangs in a driver does not block
others: it is abandoned, and closes itself if the driver returns.
"""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fcn_edge.errors import FcnEdgeError, SourceLost, first_line
from fcn_edge.frame import Frame
from fcn_edge.streaming.sources.base import Source
from fcn_edge.streaming.sources.pacing import Pace

OPEN_S = 10.0  # for opening and the first image
FIRST_WAIT_S = 0.1
KNOCK_S = 0.5  # longest wait if there is no answer: attempts are cheap, and a returned source is detected soon
LONGEST_WAIT_S = 30.0  # the same if the server refuses, such as a camera with all its streams in use
JITTER = 0.2
SEEN = 600  # images of an HLS stream that are recognised if repeated
OLD = "images that were buffered while it was opened, or repeated, were dropped"
MOST_HANGING = 3  # abandoned connections that still hang; no more are opened until one returns


class Unreachable(SourceLost):
    """There is no answer from the address, or no further data."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a live source.

    silent_s: after this time without an image it is opened again. retries: failed attempts in a row
    before giving up; None for no limit. awaited: it does not have to be available at the start.
    """

    silent_s: float = 3.0
    retries: int | None = None
    awaited: bool = False


class Connection:
    """An open camera or stream. `read` is called from one thread and may block.

    fps: frames per second or None. report: called for every image that does not decode.
    is_paced: images arrive in bursts and have their own times. note: differences from the request, "" for none.
    """

    fps: float | None = None
    is_paced = False
    note = ""

    def __init__(self) -> None:
        self.report: Callable[[str], None] = lambda text: None

    def read(self) -> np.ndarray | None:
        """The next image, (H, W, 3) uint8 BGR, or None at the end. Raises SourceLost with a reason."""
        raise NotImplementedError

    def position_s(self) -> float | None:
        """Presentation time of the last image; None if the stream has none."""
        return None

    def interrupt(self) -> None:
        """Make a running `read` return soon, if possible; called from any thread."""

    def close(self) -> None:
        """Release it; called by the reading thread."""


Opener = Callable[[], Connection]


class Received(NamedTuple):
    image: np.ndarray
    captured_ns: int


class ReceiveThread:
    """One connection in its thread. Until it `is_begun` it drops images; then it waits until each is taken."""

    def __init__(self, opener: Opener, report: Callable[[str], None], seen: deque[int], *, is_begun: bool) -> None:
        """seen: checksums of the images of earlier connections, if the stream is paced."""
        self.fps: float | None = None
        self.note = ""
        self.old = 0  # images that were buffered while it was opened
        self.error: FcnEdgeError | None = None
        self._opener, self._report, self._seen = opener, report, seen
        self._is_replaying = bool(seen)
        self._changed = threading.Condition()
        self._connection: Connection | None = None
        self._held: Received | None = None
        self.is_over, self._is_begun, self._is_left = False, is_begun, False
        self._thread = threading.Thread(target=self._work, name="reader", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Keep every image from now on; drop an earlier one."""
        with self._changed:
            self._held, self._is_begun = None, True

    def take(self, timeout_s: float) -> Received | None:
        """The next image, or None: none in that time, or the connection has ended (see `error`)."""
        with self._changed:
            self._changed.wait_for(lambda: self._held is not None or self.is_over or self._is_left, timeout_s)
            received, self._held = self._held, None
            self._changed.notify_all()
            return received

    def leave(self) -> None:
        """Stop reading; the thread ends when the driver returns."""
        with self._changed:
            self._is_left = True
            self._changed.notify_all()
        if self._connection is not None:
            self._connection.interrupt()

    def is_alive(self, wait_s: float = 0.0) -> bool:
        self._thread.join(wait_s)
        return self._thread.is_alive()

    def _work(self) -> None:
        try:
            self._read(self._opener())
        except FcnEdgeError as error:
            self.error = error
        except Exception as error:  # any error of a driver: the source is lost, and the run continues
            self.error = SourceLost(first_line(error))
        with self._changed:
            self.is_over = True
            self._changed.notify_all()

    def _read(self, connection: Connection) -> None:
        self._connection = connection
        try:
            self.fps, self.note, connection.report = connection.fps, connection.note, self._report
            pace = Pace(is_paced=connection.is_paced, fps=connection.fps)
            while (
                self._waited(0.0 if self._is_replaying else pace.wait_s()) and (image := connection.read()) is not None
            ):
                received = Received(image, time.monotonic_ns())
                is_old = pace.is_old(received.captured_ns / 1e9, connection.position_s())
                if is_old or (connection.is_paced and self._is_replayed(image)):
                    self.old += 1
                else:
                    self._hand_over(received)
        finally:
            connection.close()

    def _is_replayed(self, image: np.ndarray) -> bool:
        """Whether HLS repeats an image after it is opened again: its playlist starts some seconds in the past."""
        digest = zlib.crc32(image.data)
        self._is_replaying = self._is_replaying and digest in self._seen and self.old < len(self._seen)
        if not self._is_replaying:
            self._seen.append(digest)
        return self._is_replaying

    def _waited(self, wait_s: float) -> bool:
        """Wait; False if the connection was abandoned."""
        with self._changed:
            if wait_s > 0:
                self._changed.wait_for(lambda: self._is_left, wait_s)
            return not self._is_left

    def _hand_over(self, received: Received) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._held is None or not self._is_begun or self._is_left)
            self._held = received
            self._changed.notify_all()


class NetworkSource(Source):
    """A camera or stream that is kept open. `close()` may be called from another thread during a read."""

    is_live = True

    def __init__(self, opener: Opener, uri: str, patience: Patience) -> None:
        """Open it and wait for one image, which gives size and frame rate.

        Raises:
            SourceLost, BadInput: it cannot be opened or gives no image, and is not `awaited`.
        """
        super().__init__(uri)
        self._opener, self._patience = opener, patience
        self._closing = threading.Event()
        self._left: list[ReceiveThread] = []
        self._failures = 0
        self._seen: deque[int] = deque(maxlen=SEEN)
        self._reader = ReceiveThread(opener, self._skip, self._seen, is_begun=False)
        first = self._reader.take(OPEN_S)
        if first is not None:
            self._look_at(first)
        elif not (patience.awaited and isinstance(self._failure(), SourceLost)):
            self.close()
            raise self._failure()

    def frames(self) -> Iterator[Frame]:
        index = 0
        self._reader.begin()
        while not self._closing.is_set():
            is_new = self.is_retrying or index == 0
            received = self._reader.take(OPEN_S if is_new else self._patience.silent_s)
            if self._closing.is_set():
                return
            if received is None:
                self._open_again(index)
                continue
            if self.is_retrying:
                self._came_back(received)
            yield Frame(received.image, index, received.captured_ns, self.uri, sequence=str(self.reconnects))
            index += 1

    def close(self) -> None:
        self._closing.set()
        self._reader.leave()
        self._reader.is_alive(wait_s=1.0)

    def _look_at(self, received: Received) -> None:
        self.size, self.fps = (received.image.shape[0], received.image.shape[1]), self._reader.fps
        for what, count in ((self._reader.note, 1), (OLD, self._reader.old)):
            if what and count:
                self._note(what, self.uri, count)

    def _came_back(self, received: Received) -> None:
        before = self.size, self.fps
        self._look_at(received)
        if before != (self.size, self.fps):
            self._note("size or frame rate changed after it was opened again", self.uri)
        self.is_retrying, self.trouble, self._failures = False, "", 0
        self.reconnects += 1

    def _failure(self) -> FcnEdgeError:
        """Why there is no image, with the address as prefix."""
        error = self._reader.error
        if error is None:
            return SourceLost(f"{self.uri}: gives no image; check that it is connected, on, and not in use")
        return type(error)(f"{self.uri}: {error}")

    def _open_again(self, received: int) -> None:
        """Open it again after a delay. Raises SourceLost after too many attempts."""
        self.is_retrying = True
        silence = f"no image for {self._patience.silent_s:g} s"
        self.trouble = str(self._reader.error or ("the stream ended" if self._reader.is_over else silence))
        if self._patience.retries is not None and self._failures >= self._patience.retries:
            tries = f"{self._failures} attempts to open it again failed" if self._failures else "not opened again"
            raise SourceLost(f"{self.uri}: lost after {received} frames: {self.trouble}; {tries}")
        self._reader.leave()
        self._left = [reader for reader in (*self._left, self._reader) if reader.is_alive()]
        while not self._closing.wait(self._wait_s()):
            self._failures += 1
            self._left = [reader for reader in self._left if reader.is_alive()]
            if len(self._left) < MOST_HANGING:
                break
            self.trouble = f"{len(self._left)} connections hang in the driver"
        self._reader = ReceiveThread(self._opener, self._skip, self._seen, is_begun=True)
        if self._closing.is_set():
            self._reader.leave()

    def _wait_s(self) -> float:
        """Exponential back-off with jitter, so that many devices do not reconnect at once."""
        is_refused = self._reader.error is not None and not isinstance(self._reader.error, Unreachable)
        longest = LONGEST_WAIT_S if is_refused else KNOCK_S
        wait_s = min(longest, FIRST_WAIT_S * 2 ** min(self._failures, 20))
        return wait_s * random.uniform(1 - JITTER, 1 + JITTER)
