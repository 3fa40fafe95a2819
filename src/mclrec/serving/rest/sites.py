"""Host and origin checks: host names that the service accepts, and sites whose pages may send requests.

A page of another site can make a browser send requests here, and, if its name is made to resolve to this service, read
the answers (DNS rebinding). Host names must therefore be known, and requests that change or compute something must come
from the service's own page or from outside a browser.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from starlette.types import Scope

__all__ = ["Sites"]

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({b"same-origin", b"none"})
_MOST_CACHED_HOSTS = 64


class Sites:
    """The accepted host names of a service. Loopback names and addresses always are; others must be given.

    Args:
        names: further names; ``*`` for any.
        loopback: whether only this machine can reach the service; otherwise any numeric address is accepted too, as
            addresses cannot be rebound.
    """

    def __init__(self, names: Iterable[str] = (), *, loopback: bool = True) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in names) - {"localhost"}
        self.loopback = loopback
        self._known: set[bytes] = set()

    def misdirected(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
        """Why the ``Host`` of a request is not accepted; None if it is."""
        host = headers.get(b"host")
        if host is None:
            return None if scope["http_version"] == "1.0" else "a Host header is needed"
        given = scope["headers"]
        if len(given) > len(headers) and sum(name == b"host" for name, _ in given) > 1:
            return "exactly one Host header is needed"
        if host in self._known:
            return None
        name = _name(host)
        if name is None or not self._is_ours(name):
            return f"unknown Host {host[:100].decode('latin-1')!r}; allow it with --allow-host NAME"
        if len(self._known) < _MOST_CACHED_HOSTS:
            self._known.add(host)
        return None

    def foreign(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a page of another site sends a request that does more than read."""
        if method in _READING:
            return False
        if headers.get(b"sec-fetch-site", b"none") not in _OWN:
            return True
        origin = headers.get(b"origin")
        if origin is None:
            return False
        scheme, _, place = origin.lower().partition(b"://")
        if scheme not in (b"http", b"https"):
            return True
        return place != headers.get(b"host", b"").lower() and place.decode("latin-1") not in self._names

    def _is_ours(self, name: str) -> bool:
        if name in self._names or name == "localhost" or "*" in self._names:
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self.loopback


def _name(host: bytes) -> str | None:
    """Name or address in a ``Host`` header, without the port; None if malformed."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        return name if bracket and (not port or _is_port(port)) else None
    name, colon, port = text.partition(":")
    return name.rstrip(".") or None if not colon or _is_port(":" + port) else None


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and (text[1:].isdigit() or text == ":")
