"""A live page in the browser, with /healthz and /metrics for monitoring."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fcn_edge.engines.base import Engine
from fcn_edge.errors import BadInput
from fcn_edge.frame import Result, Style
from fcn_edge.redaction import redacted
from fcn_edge.schema import to_mapping
from fcn_edge.streaming.page.board import Board
from fcn_edge.streaming.page.server import Access, Answers, PageServer, is_loopback
from fcn_edge.streaming.prometheus import CONTENT_TYPE, metrics_text
from fcn_edge.streaming.regions import Region, Rule
from fcn_edge.streaming.sinks.base import Sink
from fcn_edge.streaming.sinks.jsonl import EventLog
from fcn_edge.streaming.summary import StreamFigures

TOKEN_VARIABLE = "FCN_EDGE_TOKEN"
SHORTEST_TOKEN = 16
ALL_INTERFACES = "0.0.0.0"
WELL_MS = 5000  # a source with an older last frame is unhealthy


@dataclass(frozen=True)
class PageAddress:
    """Address of the page. host: "" for all interfaces."""

    host: str
    port: int

    @property
    def netloc(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def address_from_uri(uri: str) -> PageAddress:
    """Host and port of http://HOST:PORT. Raises BadInput for any other form."""
    wanted = "write http://127.0.0.1:8080 (this machine only) or http://:8080 (all interfaces, with a token)"
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise BadInput(f"{redacted(uri)}: not the address of a page; {wanted}") from error
    if port is None or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in uri:
        raise BadInput(f"{redacted(uri)}: the address of a page is only host and port; {wanted}")
    return PageAddress(parts.hostname or "", port)


class PageSink(Sink):
    """Serves the page, /healthz and /metrics for all sources of a run."""

    def __init__(self, uri: str, greeting: Mapping[str, Any], events: EventLog | None = None) -> None:
        """greeting: see `greeting_for`. Raises BadInput if the address cannot be bound."""
        address = address_from_uri(uri)
        super().__init__(f"http://{address.netloc}")
        self._figures: Callable[[], tuple[StreamFigures, ...]] = tuple
        self._events = events
        self._board = Board(greeting, self._status)
        is_open = not is_loopback(address.host)
        given = os.environ.get(TOKEN_VARIABLE, "")
        token = _checked(given) or secrets.token_urlsafe(18) if is_open else None
        access = Access(token, None if is_open else frozenset({"localhost", "127.0.0.1", "::1", address.host}))
        try:
            self._server = PageServer(
                address.host or ALL_INTERFACES, address.port, access, self._board, Answers(self._health, self._metrics)
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadInput(
                f"{self.uri}: cannot bind this address ({reason}); choose another port or address"
            ) from error
        self.uri = f"http://{PageAddress(address.host, self._server.port).netloc}"
        shown = PageAddress(address.host or "<this machine>", self._server.port).netloc
        secret = f"#token={token}" if token and not given else ""
        self.greeting = f"live page: http://{shown}/{secret}" + (
            f" (token: {TOKEN_VARIABLE})" if is_open and given else ""
        )

    def begin(self, figures: Callable[[], tuple[StreamFigures, ...]]) -> None:
        self._figures = figures

    def write(self, result: Result) -> None:
        self._board.post(result)
        self.count += 1

    def close(self) -> None:
        self._server.close()

    def describe(self) -> str:
        return f"{self.uri}: {self.count} frames, at most {self._server.most_viewers} viewers at once"

    def _status(self) -> Mapping[str, Any]:
        return {
            "streams": [to_mapping(stream) for stream in self._figures()],
            "viewers": self._server.viewers,
            "events": self._events.recent() if self._events else [],
        }

    def _metrics(self) -> tuple[str, str]:
        return CONTENT_TYPE, metrics_text(self._figures())

    def _health(self) -> tuple[bool, Mapping[str, Any]]:
        """A run is healthy if every source gave a frame recently or is a recording that ended."""
        streams = self._figures()
        sources = [
            {"stream": s.stream, "state": s.state, "last_frame_ms": s.last_frame_ms, "is_well": _is_well(s)}
            for s in streams
        ]
        is_well = bool(streams) and all(_is_well(stream) for stream in streams)
        return is_well, {"is_well": is_well, "streams": sources}


def _is_well(stream: StreamFigures) -> bool:
    if stream.state == "ended":
        return True
    return stream.state != "lost" and stream.last_frame_ms is not None and stream.last_frame_ms < WELL_MS


def _checked(token: str) -> str:
    if token and len(token) < SHORTEST_TOKEN:
        raise BadInput(f"{TOKEN_VARIABLE} has {len(token)} characters; expected {SHORTEST_TOKEN} or more")
    return token


def greeting_for(
    engine: Engine, style: Style, sources: Sequence[str], regions: Sequence[Region] = (), rules: Sequence[Rule] = ()
) -> Mapping[str, Any]:
    """Data that the page needs before the first frame. sources: their addresses without credentials."""
    spec = engine.spec
    execution = f" ({engine.execution})" if engine.execution != "f32" else ""
    return {
        "model": spec.name,
        "engine": f"{engine.target} {engine.precision}{execution}",
        "classes": [name.replace("_", " ") for name in spec.classes],
        "palette": [list(colour) for colour in spec.palette],
        "opacity": style.opacity,
        "hidden": list(style.hidden_classes),
        "sources": list(sources),
        "regions": [to_mapping(region) for region in regions],
        "rules": [rule.text for rule in rules],
    }
