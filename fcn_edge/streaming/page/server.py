"""The web server of the live page: access control and responses.

On loopback all users of this machine have access, and the Host header must name this machine, which prevents
DNS rebinding by other sites. Other addresses require a token; it is in the fragment (#) of the URL, which browsers
do not send.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from fcn_edge.streaming.page.board import STATUS_S, Board, message

MAX_VIEWERS = 32
MAX_CONNECTIONS = 64
PATIENCE_S = 10  # timeout of a client that does not send or receive
MOST_FPS = 30  # per viewer
SEND_BUFFER = 128 * 1024  # limits the delay of a slow viewer to a few frames
GOODBYE_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """Access rules. token: None if none is required. hosts: names of this server, None for any."""

    token: str | None
    hosts: frozenset[str] | None

    def allows(self, authorization: str) -> bool:
        if self.token is None:
            return True
        return hmac.compare_digest(authorization.encode(), f"Bearer {self.token}".encode())

    def is_known_host(self, host: str) -> bool:
        """Whether a Host header names this server."""
        match = re.fullmatch(r"\[?([^\[\]]*?)\]?(:\d{1,5})?", host)
        return self.hosts is None or (match is not None and match[1].lower() in self.hosts)


@dataclass(frozen=True)
class Answers:
    """Responses other than the page: health as (is healthy, JSON), and metrics as (type, text)."""

    health: Callable[[], tuple[bool, Mapping[str, Any]]]
    metrics: Callable[[], tuple[str, str]]


class PageServer:
    """Serves a board in its own threads until it is closed."""

    def __init__(self, host: str, port: int, access: Access, board: Board, answers: Answers) -> None:
        """Raises OSError if the address cannot be bound."""
        self.access, self.board, self.answers = access, board, answers
        self.viewers = self.most_viewers = 0
        self._changed = threading.Condition()
        self._server = _Threads(host, port, self)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Disconnect viewers and release the address; calling it again does nothing."""
        self.board.close()
        with self._changed:
            self._changed.wait_for(lambda: self.viewers == 0, GOODBYE_S)
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def enter(self) -> bool:
        """Add a viewer; False if there are too many."""
        with self._changed:
            if self.viewers >= MAX_VIEWERS:
                return False
            self.viewers += 1
            self.most_viewers = max(self.most_viewers, self.viewers)
            return True

    def leave(self) -> None:
        with self._changed:
            self.viewers -= 1
            self._changed.notify_all()


class _Threads(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, host: str, port: int, page: PageServer) -> None:
        self.page = page
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:  # "::" also accepts IPv4
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log disconnects and invalid HTTP of clients; they are not errors of the server."""
        log.debug("a connection to the live page failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE_S
    server: _Threads

    def do_GET(self) -> None:
        page = self.server.page
        path = self.path.partition("?")[0]
        if not page.access.is_known_host(self.headers.get("Host", "")):
            names = ", ".join(sorted(page.access.hosts or ()))
            self._answer(421, f"wrong Host header; this server is {names}\n")
        elif path == "/healthz":
            is_well, health = page.answers.health()
            self._answer(200 if is_well else 503, json.dumps(health) + "\n", "application/json")
        elif path == "/":
            self._answer(200, *assembled_page())
        elif self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            self._answer(403, "requests from other origins are not allowed\n")
        elif not page.access.allows(self.headers.get("Authorization", "")):
            self._answer(401, "a token is required\n", more={"WWW-Authenticate": "Bearer"})
        elif path == "/metrics":
            kind, text = page.answers.metrics()
            self._answer(200, text, kind)
        elif path == "/live":
            self._live()
        else:
            self._answer(404, "not found; available: / /live /metrics /healthz\n")

    do_HEAD = do_GET

    def _live(self) -> None:
        if not self.server.page.enter():
            self._answer(503, f"too many viewers (maximum {MAX_VIEWERS})\n")
            return
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            self._head(200, "application/octet-stream", {"Connection": "close"})
            if self.command != "HEAD":
                self._stream(self.server.page.board)
        finally:
            self.close_connection = True
            self.server.page.leave()

    def _stream(self, board: Board) -> None:
        """Send the newest shots as fast as this viewer receives them; it misses those in between."""
        self.wfile.write(board.greeting)
        seen: dict[int, int] = {}
        last_status = float("-inf")
        while not board.is_closed:
            began = time.monotonic()
            for shot in board.newer(seen, STATUS_S):
                self.wfile.write(shot.payload)
            if began - last_status >= STATUS_S:
                self.wfile.write(board.status())
                last_status = began
            time.sleep(max(0.0, began + 1 / MOST_FPS - time.monotonic()))
        self.wfile.write(message({"kind": "end"}))

    def _answer(
        self, code: int, text: str, kind: str = "text/plain", policy: str = "", more: Mapping[str, str] | None = None
    ) -> None:
        body = text.encode()
        charset = kind if "charset" in kind else f"{kind}; charset=utf-8"
        self._head(code, charset, {"Content-Length": str(len(body)), **(more or {})}, policy)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, code: int, kind: str, more: Mapping[str, str], policy: str = "") -> None:
        self.send_response(code)
        headers = {
            "Content-Type": kind,
            "Cache-Control": "no-store",
            "Content-Security-Policy": policy or "default-src 'none'; frame-ancestors 'none'",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in {**headers, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def version_string(self) -> str:
        return "fcn-edge"

    def log_message(self, format: str, *args: Any) -> None:
        """No access log, for privacy."""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@cache
def assembled_page() -> tuple[str, str, str]:
    """The page with inlined style and script, its type, and a content security policy that allows only these."""
    folder = files("fcn_edge.streaming.page")
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    page = (folder / "page.html").read_text(encoding="utf-8")
    page = page.replace("/* page.css */", style).replace("/* page.js */", script)
    policy = (
        f"default-src 'none'; script-src {_hash_of(script)}; style-src {_hash_of(style)}; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, "text/html", policy


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
