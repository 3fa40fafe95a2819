"""ASGI middleware that every request passes: authentication, limits, draining, metrics, logs, headers."""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mclrec.errors import ConfigError, MclrecWarning
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics, log_event

__all__ = ["Keys", "Middleware", "Notes", "notes_of"]

_NOTES = "mclrec.notes"
_LONGEST_ID = 128
_SHORTEST_KEY = 16
_AGAIN = (b"retry-after", b"1")
_CLOSE = (b"connection", b"close")
_SAFE = (b"x-content-type-options", b"nosniff")


class Keys:
    """API keys that clients may show: read from a file, kept as digests, compared in constant time.

    Args:
        keys: the keys themselves.
    """

    def __init__(self, keys: list[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read a file with one key a line; blank lines and what follows ``#`` at a line's start are left out.

        Warns:
            MclrecWarning: others than the owner may read the file.

        Raises:
            ConfigError: it cannot be read, has no key, or one that is too short or not plain ASCII.
        """
        try:
            lines = path.read_text(encoding="ascii").splitlines()
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError) as problem:
            reason = getattr(problem, "strerror", None) or "keys are plain ASCII"
            raise ConfigError(f"{path}: cannot be read: {reason}") from None
        keys = []
        for number, line in enumerate(map(str.strip, lines), start=1):
            if line and not line.startswith("#"):
                _check_key(line, f"{path}:{number}")
                keys.append(line)
        if not keys:
            raise ConfigError(f"{path}: no keys: write one a line, such as `openssl rand -hex 32` makes")
        if mode & (stat.S_IRGRP | stat.S_IROTH):
            warnings.warn(
                f"{path}: others may read the keys; forbid it: chmod 600 {path}", MclrecWarning, stacklevel=2
            )
        return cls(keys)

    def admit(self, authorization: bytes) -> bool:
        """Whether the value of the header ``Authorization`` is ``Bearer KEY`` with a key of ours."""
        scheme, _, key = authorization.partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        # All are compared, so that the time tells nothing of which one fits.
        found = sum(hmac.compare_digest(digest, known) for known in self._digests)
        return scheme.lower() == b"bearer" and found > 0


@dataclass(slots=True)
class Notes:
    """Notes of an endpoint on its request, for the log.

    Attributes:
        batch: histories that the model read together with the request's.
        histories: of the request; None if they must not be logged.
    """

    batch: int | None = None
    histories: list[Any] | None = None


def notes_of(scope: Scope) -> Notes:
    """The notes of a request."""
    notes: Notes = scope[_NOTES]
    return notes


@dataclass(slots=True, eq=False)
class Middleware:
    """Middleware around the application.

    Attributes:
        app: the application.
        settings: limits.
        metrics: are told of every request.
        keys: that clients must show; open to all if None.
        public: paths that need no key.
        connections: number of open ones; set by the server.
        draining: new requests are refused from now on.
        in_flight: requests that are being answered.
    """

    app: ASGIApp
    settings: Settings
    metrics: Metrics
    keys: Keys | None = None
    public: frozenset[str] = frozenset()
    connections: Callable[[], int] = lambda: 0
    draining: bool = False
    in_flight: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the server sends nothing but HTTP here."""
        start = perf_counter()
        notes = scope[_NOTES] = Notes()
        sender = _Sender(send, self, _request_id(scope))
        self.in_flight += 1
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self.app(scope, receive, sender)
            else:
                await _refuse(sender, *refusal)
        except Exception as problem:
            log_event("error", {"route": _route(scope)}, problem)
        finally:
            self.in_flight -= 1
            self._record(scope, sender, notes, perf_counter() - start)

    def _refusal(self, scope: Scope) -> tuple[int, str, tuple[tuple[bytes, bytes], ...]] | None:
        """Status, reason and headers for a request that goes no further; None for others."""
        path = scope["path"]
        probe = path in ("/health", "/ready")
        if self.draining and not probe:
            return 503, "the service is going down", (_AGAIN,)
        if self.connections() > self.settings.max_connections and not probe:
            return 503, "too many connections", (_AGAIN, _CLOSE)
        headers = dict(scope["headers"])
        if self.keys and path not in self.public and not self.keys.admit(headers.get(b"authorization", b"")):
            return (
                401,
                "a valid key is needed: Authorization: Bearer KEY",
                ((b"www-authenticate", b"Bearer"),),
            )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > self.settings.max_body:
            return 413, f"the body is too large: at most {self.settings.max_body} bytes", (_CLOSE,)
        return None

    def refused(self, status: int) -> None:
        """Count and log a request that the server has refused before there was one to pass on."""
        self.metrics.observe("none", status, 0.0)
        log_event("request", {"route": "none", "method": None, "status": status})

    def _record(self, scope: Scope, sender: _Sender, notes: Notes, seconds: float) -> None:
        route, status = _route(scope), sender.status or 499  # 499: the client went away
        self.metrics.observe(route, status, seconds)
        fields: dict[str, object] = {
            "route": route,
            "method": scope["method"],
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        if notes.batch is not None:
            fields["batch"] = notes.batch
        if sender.request_id:
            fields["id"] = sender.request_id.decode("latin-1")
        if notes.histories is not None:
            fields["histories"] = notes.histories
        log_event("request", fields)


@dataclass(slots=True, eq=False)
class _Sender:
    """Sends a response: adds headers and remembers the status."""

    send: Send
    middleware: Middleware
    request_id: bytes
    status: int = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), _SAFE]
            if self.request_id:
                headers.append((b"x-request-id", self.request_id))
            if self.middleware.draining:
                headers.append(_CLOSE)
            message = {**message, "headers": headers}
        await self.send(message)


async def _refuse(send: Send, status: int, detail: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    body = json.dumps({"detail": detail}).encode()
    fixed = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


def _route(scope: Scope) -> str:
    """Path of the route as it was declared: one label whatever the item is; "other" for what there is not."""
    return getattr(scope.get("route"), "path_format", None) or "other"


def _request_id(scope: Scope) -> bytes:
    """Id that the proxy or the client gives this request; it goes back to them and into the log."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and len(value) <= _LONGEST_ID:
            return bytes(value)
    return b""


def _check_key(key: str, place: str) -> None:
    if len(key) < _SHORTEST_KEY:
        raise ConfigError(f"{place}: a key has at least {_SHORTEST_KEY} characters")
    if not key.isprintable() or " " in key:
        raise ConfigError(f"{place}: a key has neither blanks nor control characters")
