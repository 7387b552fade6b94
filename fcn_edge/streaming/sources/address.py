"""Parse network addresses; ambiguous ones are rejected.

Passwords are often typed without encoding. The text before the last @ is user and password, whatever its characters;
if it could also be a host with an @ in its path, the address is rejected before any lookup.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote, unquote

from fcn_edge.errors import BadInput

ENCODE = "write # / ? @ in a user or password as %23 %2F %3F %40, and an @ in a path as %40"
IN_TARGET = "/?&=%:@!$'()*+,;~[]"  # characters of a path and a query that are not encoded


@dataclass(frozen=True)
class Address:
    """SCHEME://USER:PASSWORD@HOST:PORT/PATH?QUERY; user and password are decoded. user: None if there is none.

    host: without the brackets of IPv6. port: None if not set. target: path and query.
    """

    scheme: str
    user: str | None
    password: str
    host: str
    port: int | None
    target: str

    @property
    def bare(self) -> str:
        """The address without user and password."""
        return f"{self.scheme}://{self._place}{self.target}"

    @property
    def url(self) -> str:
        """The complete address, encoded as vendors expect it."""
        if self.user is None:
            return self.bare
        credentials = ":".join(quote(part, safe="") for part in (self.user, self.password))
        return f"{self.scheme}://{credentials}@{self._place}{self.target}"

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def address_from_uri(uri: str) -> Address:
    """Parse `uri`. Raises BadInput, without any part of a password, if it is invalid or ambiguous."""
    scheme, _, behind_scheme = uri.partition(":")
    rest = behind_scheme.removeprefix("//")
    if rest == behind_scheme or re.search(r"[\x00-\x1f\x7f]", uri):
        raise BadInput(f"not an address; write {scheme}://HOST/PATH")
    credentials, at, behind = rest.rpartition("@")
    found = _placed(behind)
    if re.search(r"[/?]", credentials) and _placed(_without_standard_credentials(rest)):
        raise BadInput(f"ambiguous: an @ after a / or ?, so the start of the host is unknown; {ENCODE}")
    if found is None:
        hint = f"; {ENCODE}" if at else ""
        raise BadInput(f"no host in the address; write {scheme}://HOST/PATH{hint}")
    user, _, password = credentials.partition(":")
    return Address(scheme.lower(), unquote(user) if at else None, unquote(password), *found)


def _authority(rest: str) -> str:
    return re.split(r"[/?#]", rest, maxsplit=1)[0]


def _without_standard_credentials(rest: str) -> str:
    """`rest` from its host on by RFC 3986: a / or ? ends the part that may contain an @."""
    authority = _authority(rest)
    return authority.rpartition("@")[2] + rest[len(authority) :]


def _placed(text: str) -> tuple[str, int | None, str] | None:
    """(host, port, target) of HOST:PORT/PATH?QUERY, None if host or port is invalid."""
    place = _authority(text)
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([\w.~-]+))(?::([0-9]{0,5}))?", place)
    if match is None or (match[1] and not _is_ipv6(match[1])) or int(match[3] or 0) > 65_535:
        return None
    target = quote(text[len(place) :].partition("#")[0], safe=IN_TARGET)
    return match[1] or match[2], int(match[3]) if match[3] else None, target


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
