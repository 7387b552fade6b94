"""Real servers on loopback, as processes that can be killed, frozen and started again."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
READY_S = 60.0
GI = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer, Gst; Gst.init(); \
assert Gst.ElementFactory.find('x264enc')"


class Server:
    """One of `rtsp`, `mjpeg`, `hls` on a port of its own; `url` without its path."""

    def __init__(self, kind: str, *, login: tuple[str, str] | None = None) -> None:
        self.kind, self.port, self.login = kind, free_port(), login
        self._process: subprocess.Popen[bytes] | None = None
        self.ready_ns = 0

    def url(self, path: str = "", *, login: tuple[str, str] | None = None) -> str:
        scheme = "rtsp" if self.kind == "rtsp" else "http"
        default = {"rtsp": "live", "mjpeg": "live", "hls": "live.m3u8"}[self.kind]
        who = f"{login[0]}:{login[1]}@" if login else ""
        return f"{scheme}://{who}127.0.0.1:{self.port}/{path or default}"

    def start(self, size: tuple[int, int] = (240, 320), fps: int = 25) -> Server:
        """size: (height, width). Returns once it listens."""
        python = SYSTEM_PYTHON if self.kind == "rtsp" else sys.executable
        words = [python, str(FOLDER / f"{self.kind}_server.py"), self.port, size[1], size[0], fps, *(self.login or ())]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)} if self.kind != "rtsp" else system_environment()
        self._process = subprocess.Popen(
            [str(word) for word in words], stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"READY\n"
        self.ready_ns = time.monotonic_ns()
        return self

    def kill(self) -> None:
        """As a power cut does it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def system_environment() -> dict[str, str]:
    """What a program of the system gets: nothing of the environment that the tests run in."""
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}


@functools.cache
def missing(kind: str) -> str:
    """What this machine lacks for a kind of server, "" for nothing."""
    if kind == "hls":
        return "" if shutil.which("ffmpeg") else "ffmpeg is not installed"
    if kind == "rtsp":
        done = subprocess.run([SYSTEM_PYTHON, "-W", "ignore", "-c", GI], capture_output=True, env=system_environment())
        return (
            ""
            if done.returncode == 0
            else "GStreamer's RTSP server (python3-gi, gir1.2-gst-rtsp-server-1.0) is not installed"
        )
    return ""


def wait_until(claim: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether the claim came true in time; longer than a machine is frozen by its neighbours."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
