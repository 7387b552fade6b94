"""RTSP through OpenCV's FFmpeg, and the reason if a stream does not open, which FFmpeg does not report."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import ssl
from dataclasses import replace

from fcn_edge.errors import BadInput, FcnEdgeError, SourceLost
from fcn_edge.redaction import redacted
from fcn_edge.streaming.sources.address import Address, address_from_uri
from fcn_edge.streaming.sources.cameras import FfmpegConnection
from fcn_edge.streaming.sources.network import NetworkSource, Patience, Unreachable

PORTS = {"rtsp": 554, "rtsps": 322}
KNOCK_S = 2.0
LARGEST_ANSWER = 65_536
OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


class RtspConnection(FfmpegConnection):
    """An RTSP stream, read by FFmpeg."""

    def __init__(self, address: Address) -> None:
        """Raises Unreachable, SourceLost or BadInput with the reason."""
        with _connected(address):
            pass
        try:
            super().__init__(address.url)
        except SourceLost as error:
            raise reason(address) or error from error


def video_from_rtsp(uri: str, patience: Patience) -> NetworkSource:
    """An RTSP stream over TCP, or over UDP if the address ends in ?udp.

    Over UDP a lost packet damages an image, which FFmpeg conceals; TCP has no packet loss.

    Raises:
        BadInput: the address is invalid, or this process already uses RTSP over the other transport.
    """
    try:
        address = address_from_uri(uri)
        path, _, query = address.target.partition("?")
        words = query.split("&")
        _take_transport("udp" if "udp" in words else "tcp")
    except BadInput as error:
        raise BadInput(f"{redacted(uri)}: {error}") from error
    kept = "&".join(word for word in words if word not in ("", "udp", "tcp"))
    plain = replace(address, target=f"{path}?{kept}" if kept else path)
    return NetworkSource(lambda: RtspConnection(plain), uri, patience)


def _take_transport(transport: str) -> None:
    """OpenCV reads only this variable, so it is set once, before threads read it."""
    options = os.environ.setdefault(OPTIONS, f"rtsp_transport;{transport}")
    if f"rtsp_transport;{transport}" not in options:
        raise BadInput(
            f"RTSP over {transport.upper()}, but {OPTIONS} is {options!r}; use one transport for all sources"
        )


def reason(address: Address) -> FcnEdgeError | None:
    """Send DESCRIBE to the server; returns the error, or None. RFC 2326, section 10.2."""
    has_user = address.user is not None
    try:
        with _connected(address) as line:
            answer = _described(line, address, "")
            if answer.startswith("RTSP/1.0 401") and has_user:
                answer = _described(line, address, _credentials(answer, address))
    except TimeoutError:
        return Unreachable("the server accepts the connection but does not answer")
    except OSError as error:
        return Unreachable(f"the server closes the connection ({error.strerror or error})")
    except FcnEdgeError as error:
        return error
    status = re.match(r"RTSP/1\.0 (\d{3}) ?([^\r\n]*)", answer)
    if status is None:
        return BadInput(f"{address.host} does not answer in RTSP; check the port")
    if status[1] in ("401", "403"):
        what = "rejects this user and password" if has_user else "requires a user and a password"
        return BadInput(f"the server {what} ({status[1]})")
    if status[1] == "404":
        return BadInput("the server has no such stream (404); check the path")
    if status[1] != "200":
        return SourceLost(f"the server answers {status[1]} {status[2]}".rstrip())
    return None if "m=video" in answer else BadInput("the stream has no video")


def _connected(address: Address) -> socket.socket:
    host, port = address.host, address.port or PORTS[address.scheme]
    try:
        line = socket.create_connection((host, port), KNOCK_S)
    except socket.gaierror as error:
        raise Unreachable(f"unknown host {host}") from error
    except OSError as error:
        raise Unreachable(f"no answer from {host}:{port} ({error.strerror or 'timeout'})") from error
    if address.scheme != "rtsps":
        return line
    context = ssl._create_unverified_context()
    return context.wrap_socket(line, server_hostname=host)


def _described(line: socket.socket, address: Address, credentials: str) -> str:
    request = (
        f"DESCRIBE {address.bare} RTSP/1.0\r\nCSeq: {2 if credentials else 1}\r\n"
        f"Accept: application/sdp\r\n{credentials}\r\n"
    )
    line.sendall(request.encode())
    answer = b""
    while len(answer) < LARGEST_ANSWER and not _is_whole(answer) and (more := line.recv(4096)):
        answer += more
    return answer.decode("utf-8", "replace")


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length:\s*(\d{1,8})", head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def _credentials(answer: str, address: Address) -> str:
    """The Authorization header for a 401 response. RFC 2617; RTSP servers use MD5 without qop, or Basic."""
    user, password = address.user or "", address.password
    digest = re.search(r"(?im)^www-authenticate:\s*digest\s+(.*)$", answer)
    if digest is None:
        return f"Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}\r\n"
    challenge = dict(re.findall(r'(\w+)="([^"]*)"', digest[1]))
    realm, nonce = challenge.get("realm", ""), challenge.get("nonce", "")
    response = _md5(f"{_md5(f'{user}:{realm}:{password}')}:{nonce}:{_md5(f'DESCRIBE:{address.bare}')}")
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": address.bare, "response": response}
    return "Authorization: Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items()) + "\r\n"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
