"""Presentation times: when the images of a recording are due, and which images of a live stream are old."""

from __future__ import annotations

import time

from fcn_edge.errors import SourceLost

CATCH_UP_S = 2.0
LAG_S = 2.0  # a stream that is this late is opened again, which drops its backlog
HALF_WINDOW_S = 30.0
LONGEST_WAIT_S = 1.0
USUAL_FPS = 25.0
DISORDER_S = (
    1.0  # after damaged data times may go back a little; if they go back further, the stream's clock was restarted
)
SHORTEST_S = 0.001


class PresentationClock:
    """Seconds from the first image of a recording to each image, strictly increasing.

    jump_s: a longer step is not a pause but the start of another, appended recording with its own clock.
    """

    def __init__(self, fps: float | None, *, jump_s: float = float("inf")) -> None:
        self._period_s, self._jump_s = 1 / (fps or USUAL_FPS), jump_s
        self._zero_s: float | None = None
        self._now_s = 0.0

    def seconds(self, position_s: float) -> float:
        """position_s: from the container; 0 or less after the first image if it has no times, such as raw H.264."""
        if self._zero_s is None:
            self._zero_s = position_s
            return 0.0
        seconds = position_s - self._zero_s
        if position_s <= 0:
            self._now_s += self._period_s
        elif seconds < self._now_s - DISORDER_S or seconds > self._now_s + self._jump_s:
            self._now_s += self._period_s
            self._zero_s = position_s - self._now_s
        else:
            self._now_s = max(seconds, self._now_s + SHORTEST_S)
        return self._now_s


class Pace:
    """Compares the arrival of images with their presentation times.

    FFmpeg buffers images while it probes a stream. When they are read, they arrive faster than the camera's frame
    rate, and are old. A stream that `is_paced` (HLS) always arrives in bursts: it is read at its frame rate.
    """

    def __init__(self, *, is_paced: bool, fps: float | None) -> None:
        self._is_paced, self._period_s = is_paced, 1 / fps if fps else 0.0
        self._is_catching_up = not is_paced
        self._opened_s = self._last_s = self._half_s = time.monotonic()
        self._last_position_s: float | None = None
        self._offset_s: float | None = None
        self._least_s = self._least_before_s = float("inf")

    def wait_s(self) -> float:
        """How long to wait before reading the next image; 0 unless paced."""
        if not self._is_paced or self._last_position_s is None:
            return 0.0
        now, position_s = time.monotonic(), self._last_position_s + self._period_s
        if self._offset_s is None or abs(self._offset_s + position_s - now) > LONGEST_WAIT_S:
            self._offset_s = now - position_s  # the first image, or time has jumped: restart here
            return 0.0
        return max(0.0, self._offset_s + position_s - now)

    def is_old(self, now_s: float, position_s: float | None) -> bool:
        """Whether the image read at `now_s`, due at `position_s`, was buffered.

        Raises SourceLost if the stream is too late.
        """
        passed_s, before_s = now_s - self._last_s, self._last_position_s
        self._last_s, self._last_position_s = now_s, position_s
        if position_s is None or self._is_paced:
            return False
        if self._is_catching_up:
            advance_s = max(self._period_s, position_s - (before_s or 0.0))
            is_faster = before_s is None or passed_s < 0.5 * advance_s
            self._is_catching_up = is_faster and now_s < self._opened_s + CATCH_UP_S
            return self._is_catching_up
        self._check_lag(now_s, position_s)
        return False

    def _check_lag(self, now_s: float, position_s: float) -> None:
        """Raise if this image is much later than the earliest of the last minute."""
        if now_s > self._half_s + HALF_WINDOW_S:  # two half windows, since drift between the clocks is not lag
            self._half_s, self._least_before_s, self._least_s = now_s, self._least_s, float("inf")
        self._least_s = min(self._least_s, now_s - position_s)
        lag_s = now_s - position_s - min(self._least_s, self._least_before_s)
        if lag_s > LAG_S:
            raise SourceLost(f"the stream is {lag_s:.1f} s late; the network is too slow for it")
