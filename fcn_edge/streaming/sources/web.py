"""Video over HTTP: MJPEG, HLS, and files. The content type of the response tells videos from other content."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse

import cv2
import numpy as np

from fcn_edge.data.pictures import picture_from_bytes
from fcn_edge.errors import BadInput, FcnEdgeError, SourceLost, first_line
from fcn_edge.redaction import redacted
from fcn_edge.streaming.sources.address import Address, address_from_uri
from fcn_edge.streaming.sources.base import Source
from fcn_edge.streaming.sources.cameras import TIMEOUTS, FfmpegConnection
from fcn_edge.streaming.sources.container import Content
from fcn_edge.streaming.sources.network import Connection, NetworkSource, Patience, Unreachable
from fcn_edge.streaming.sources.video import VideoFile, opened_capture

TIMEOUT_S = 5.0  # for each answer and each piece of data
BLOCK = 65_536
HEAD = 4 * 2**20  # contains the index of one hour
MOST_REQUESTS = 200  # to check whether a file is complete
LARGEST_PART = 64 * 2**20
LONGEST_LINE = 65_536
MOST_BAD_PARTS = 25  # images in a row that do not decode before the stream is opened again


class MjpegConnection(Connection):
    """A sequence of JPEG images as multipart/x-mixed-replace; the only clock is X-Timestamp, if sent."""

    def __init__(self, response: HTTPResponse) -> None:
        super().__init__()
        self._response = response
        self._boundary = (response.headers.get_boundary() or "").lstrip("-").encode()
        self._is_interrupted = False
        self._position_s: float | None = None

    def read(self) -> np.ndarray | None:
        for _ in range(MOST_BAD_PARTS):
            try:
                part = self._part()
            except OSError as error:
                raise Unreachable(_words(error)) from error
            except (HTTPException, ValueError) as error:
                raise SourceLost(f"invalid MJPEG ({first_line(error)})") from error
            if part is None:
                return None
            try:
                return picture_from_bytes(part)[0]
            except BadInput as error:
                self.report(f"an image of the stream: {error}")
        raise SourceLost(f"{MOST_BAD_PARTS} images in a row do not decode")

    def position_s(self) -> float | None:
        return self._position_s

    def interrupt(self) -> None:
        self._is_interrupted = True

    def close(self) -> None:
        self._response.close()

    def _part(self) -> bytes | None:
        """The bytes of the next image, or None at the end."""
        headers = self._headers()
        if headers is None:
            return None
        stamp = headers.get("x-timestamp", "")
        self._position_s = float(stamp) if stamp else None
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        return self._up_to_boundary()

    def _headers(self) -> dict[str, str] | None:
        """Headers of the next part: the lines after its boundary; lines before it are ignored."""
        headers: dict[str, str] = {}
        while not self._is_interrupted and (line := self._response.readline(LONGEST_LINE)):
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
            elif not line.strip() and headers:
                return headers
        return None

    def _exactly(self, length: int) -> bytes | None:
        if not 0 <= length <= LARGEST_PART:
            raise ValueError(f"an image of {length} bytes")
        part = bytearray()
        while len(part) < length:
            more = b"" if self._is_interrupted else self._response.read1(min(LONGEST_LINE, length - len(part)))
            if not more:
                return None
            part += more
        return bytes(part)

    def _up_to_boundary(self) -> bytes | None:
        part = bytearray()
        while not self._is_interrupted and (line := self._response.readline(LONGEST_LINE)):
            if line.startswith(b"--") and self._boundary and line.strip().strip(b"-") == self._boundary:
                return bytes(part).removesuffix(b"\r\n")
            part += line
            if len(part) > LARGEST_PART:
                raise ValueError(f"an image of more than {LARGEST_PART} bytes")
        return None


class WebContent(Content):
    """A file on a server: by ranges, or only its head if the server has no ranges. Empty after MOST_REQUESTS."""

    def __init__(self, address: Address) -> None:
        super().__init__(0, BLOCK)
        self._address, self._requests, self._has_ranges = address, 0, True
        self[0:1]

    def _read(self, start: int, end: int) -> bytes:
        self._requests += 1
        if self._requests > MOST_REQUESTS or (start > 0 and not self._has_ranges):
            return b""
        try:
            with _answer(self._address, f"bytes={start}-{end - 1}") as response:
                self._has_ranges = response.status == HTTPStatus.PARTIAL_CONTENT
                length = response.headers["content-range"].rpartition("/")[2] if self._has_ranges else response.length
                self.size = int(length or 0)
                return response.read(max(end - start, 0 if self._has_ranges else HEAD))
        except (FcnEdgeError, HTTPException, OSError, AttributeError, ValueError):
            return b""


class CloseRefused(urllib.request.BaseHandler):
    """Closes a 401 response: urllib retries on another connection and keeps the first open as long as its errors."""

    handler_order = 0  # before urllib's own

    def http_error_401(self, request: object, answer: HTTPResponse, code: int, words: str, headers: object) -> None:
        """Called by urllib; None passes it to the next handler."""
        answer.close()


class WebVideo(VideoFile):
    """A recorded video on a server."""

    def _content(self) -> AbstractContextManager[Content]:
        return nullcontext(WebContent(address_from_uri(self._address)))


def video_from_http(uri: str, patience: Patience) -> Source:
    """A recording if the server's video has a length, otherwise a live source.

    Raises:
        BadInput: the address does not serve a video. SourceLost: no answer, and it is not `awaited`.
    """
    try:
        address = address_from_uri(uri)
        try:
            if _is_recorded(address):
                return WebVideo(address.url, uri)
        except Unreachable as error:
            if not patience.awaited:
                raise SourceLost(str(error)) from error
    except FcnEdgeError as error:
        raise type(error)(f"{redacted(uri)}: {error}") from error
    return NetworkSource(lambda: http_connection(address), uri, patience)


def http_connection(address: Address) -> Connection:
    """MJPEG is read here, everything else by FFmpeg. Raises Unreachable, SourceLost or BadInput with the reason."""
    response = _answer(address)
    if response.headers.get_content_type().startswith("multipart/"):
        return MjpegConnection(response)
    with response:
        is_hls = _checked_head(response).startswith(b"#EXTM3U")
    return FfmpegConnection(address.url, is_paced=is_hls)


def _is_recorded(address: Address) -> bool:
    with _answer(address) as response:
        if response.headers.get_content_type().startswith("multipart/"):
            return False
        _checked_head(response)
    capture = opened_capture(address.url, cv2.CAP_FFMPEG, TIMEOUTS)
    is_recorded = capture.isOpened() and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
    capture.release()
    return bool(is_recorded)


def _checked_head(response: HTTPResponse) -> bytes:
    """The first bytes of a possible video. FFmpeg would render text as a video of its letters."""
    kind, head = response.headers.get_content_type(), response.read(512)
    if head.startswith(b"#EXTM3U"):
        return head
    if kind == "text/html" or head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise BadInput("serves a web page (HTML), not a video; find the address of the stream on this page")
    if kind.startswith("image/"):
        raise BadInput(f"serves a single image ({kind}), not a stream; use the address of its MJPEG or RTSP stream")
    if kind.startswith("text/") or kind.endswith(("json", "xml")):
        raise BadInput(f"serves {kind}, not a video")
    return head


def _answer(address: Address, wanted: str | None = None) -> HTTPResponse:
    """The server's response to GET, with user and password if the address has them. wanted: a range of bytes."""
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, address.bare, address.user or "", address.password)
    kinds = (urllib.request.HTTPBasicAuthHandler, urllib.request.HTTPDigestAuthHandler)
    handlers = [CloseRefused(), *(kind(passwords) for kind in kinds)] if address.user is not None else []
    try:
        request = urllib.request.Request(address.bare, headers={"Range": wanted} if wanted else {})
        return urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refusal(error.code, str(error.reason), has_user=address.user is not None) from error
    except urllib.error.URLError as error:
        cause = error.reason
        where = f"{address.host}:{address.port or (443 if address.scheme == 'https' else 80)}"
        if isinstance(cause, socket.gaierror):
            raise Unreachable(f"unknown host {address.host}") from error
        raise Unreachable(f"no answer from {where} ({_words(cause)})") from error
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, OSError):
            raise Unreachable(f"no answer from {address.host} ({_words(error)})") from error
        raise BadInput(f"{address.host} does not answer in HTTP; check the port") from error


def _refusal(code: int, words: str, *, has_user: bool) -> FcnEdgeError:
    if code in (401, 403):
        what = "rejects this user and password" if has_user else "requires a user and a password"
        return BadInput(f"the server {what} ({code})")
    if code in (404, 410):
        return BadInput(f"the server has no such page ({code}); check the path")
    return SourceLost(f"the server answers {code} {words}".rstrip())


def _words(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no data for {TIMEOUT_S:g} s"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
