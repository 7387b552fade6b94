"""Addresses of the network, parsed for certain or not at all.

Passwords are often typed as they are. What stands before the last @ is the user and the password, whatever it holds;
where the same text could as well be a host with an @ in its path, it is refused before anything is looked up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote, unquote

from fcn_edge.errors import BadInput

ENCODE = "write # / ? @ in a user or password as %23 %2F %3F %40, and an @ in a path as %40"
IN_TARGET = "/?&=%:@!$'()*+,;~[]"  # what a path and a query may hold as it is


@dataclass(frozen=True)
class Address:
    """SCHEME://USER:PASSWORD@HOST:PORT/PATH?QUERY; user and password are decoded. user: None where there is none.

    host: without the brackets of IPv6. port: None where it is not given. target: path and query.
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
        """The whole address, encoded as vendors expect it."""
        if self.user is None:
            return self.bare
        credentials = ":".join(quote(part, safe="") for part in (self.user, self.password))
        return f"{self.scheme}://{credentials}@{self._place}{self.target}"

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def address_from_uri(uri: str) -> Address:
    """Parse `uri`. Raises BadInput, showing no piece of a password, where it is none or could mean two things."""
    scheme, _, behind_scheme = uri.partition(":")
    rest = behind_scheme.removeprefix("//")
    if rest == behind_scheme or re.search(r"[\x00-\x1f\x7f]", uri):
        raise BadInput(f"not an address; write {scheme}://HOST/PATH")
    credentials, at, behind = rest.rpartition("@")
    found = _placed(behind)
    if re.search(r"[/?]", credentials) and _placed(_without_standard_credentials(rest)):
        raise BadInput(f"an @ behind a / or ? leaves open where the host begins; {ENCODE}")
    if found is None:
        hint = f"; {ENCODE}" if at else ""
        raise BadInput(f"no host in the address; write {scheme}://HOST/PATH{hint}")
    user, _, password = credentials.partition(":")
    return Address(scheme.lower(), unquote(user) if at else None, unquote(password), *found)


def _authority(rest: str) -> str:
    return re.split(r"[/?#]", rest, maxsplit=1)[0]


def _without_standard_credentials(rest: str) -> str:
    """`rest` from its host on as RFC 3986 reads it, where a / or ? ends what may hold an @."""
    authority = _authority(rest)
    return authority.rpartition("@")[2] + rest[len(authority) :]


def _placed(text: str) -> tuple[str, int | None, str] | None:
    """(host, port, target) of HOST:PORT/PATH?QUERY, None where there is no such host or port."""
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
