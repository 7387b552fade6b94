"""A window on this machine's screen; q or Esc, or closing it, ends the run."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2

from fcn_edge.errors import BackendMissing
from fcn_edge.frame import Result
from fcn_edge.streaming.sinks.base import Sink
from fcn_edge.streaming.viewer import Painter

QUIT_KEYS = (ord("q"), 27)  # 27: Esc
PROBE_S = 20


class Display(Sink):
    """Shows annotated images, in the caller's thread, because window systems need the main thread."""

    needs_caller_thread = True
    needs_overlay = True

    def __init__(self, number: int, painter: Painter) -> None:
        """Raises BackendMissing if no window can be opened."""
        super().__init__(f"display://{number}")
        require_display()
        self._painter, self._window = painter, f"fcn-edge {number}"

    def write(self, result: Result) -> None:
        cv2.imshow(self._window, self._painter.picture(result))
        key = cv2.waitKey(1) & 0xFF
        self.count += 1
        self.is_done = key in QUIT_KEYS or cv2.getWindowProperty(self._window, cv2.WND_PROP_VISIBLE) < 1

    def close(self) -> None:
        if self.count:
            cv2.destroyWindow(self._window)
            self.count = 0


def require_display() -> None:
    """Raises BackendMissing if OpenCV cannot open a window.

    Tried in another process first: without a screen Qt aborts the process.
    """
    is_linux = sys.platform.startswith("linux")
    if is_linux and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise BackendMissing("no screen (DISPLAY is not set); write a video instead, such as out.mp4")
    code = "import cv2; cv2.namedWindow('fcn-edge'); cv2.waitKey(1)"
    try:
        probe = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=PROBE_S, check=False)
        is_shown = probe.returncode == 0
    except subprocess.TimeoutExpired:
        is_shown = False
    if not is_shown:
        raise BackendMissing(
            f"OpenCV {cv2.__version__} cannot open a window (a headless build, or DISPLAY"
            f" {os.environ.get('DISPLAY', '')!r} cannot be reached); write a video instead, such as out.mp4"
        )
