"""What every request passes on its way in and out: keys, limits, draining, metrics, logs, headers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mclrec.serving.rest.keys import Keys
from mclrec.serving.rest.logs import log_event
from mclrec.serving.rest.metrics import Metrics
from mclrec.serving.rest.settings import Settings

__all__ = ["Gate", "Notes", "notes_of"]

_NOTES = "mclrec.notes"
_LONGEST_ID = 128
_AGAIN = (b"retry-after", b"1")
_CLOSE = (b"connection", b"close")
_SAFE = (b"x-content-type-options", b"nosniff")


@dataclass(slots=True)
class Notes:
    """What an endpoint has to say of its request to the log.

    Attributes:
        batch: histories that the model read together with the request's.
        histories: what was asked; None if the log must not have it.
    """

    batch: int | None = None
    histories: list[Any] | None = None


def notes_of(scope: Scope) -> Notes:
    """The notes of a request."""
    notes: Notes = scope[_NOTES]
    return notes


@dataclass(slots=True, eq=False)
class Gate:
    """Wraps the application.

    Attributes:
        app: what is behind.
        settings: limits.
        metrics: are told of every request.
        keys: that open it; open to all if None.
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
        exit_ = _Exit(send, self, _request_id(scope))
        self.in_flight += 1
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self.app(scope, receive, exit_)
            else:
                await _refuse(exit_, *refusal)
        except Exception as problem:
            log_event("error", {"route": _route(scope)}, problem)
        finally:
            self.in_flight -= 1
            self._record(scope, exit_, notes, perf_counter() - start)

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

    def _record(self, scope: Scope, exit_: _Exit, notes: Notes, seconds: float) -> None:
        route, status = _route(scope), exit_.status or 499  # 499: the client went away
        self.metrics.observe(route, status, seconds)
        fields: dict[str, object] = {
            "route": route,
            "method": scope["method"],
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        if notes.batch is not None:
            fields["batch"] = notes.batch
        if exit_.request_id:
            fields["id"] = exit_.request_id.decode("latin-1")
        if notes.histories is not None:
            fields["histories"] = notes.histories
        log_event("request", fields)


@dataclass(slots=True, eq=False)
class _Exit:
    """The way out: adds headers and remembers the status."""

    send: Send
    gate: Gate
    request_id: bytes
    status: int = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), _SAFE]
            if self.request_id:
                headers.append((b"x-request-id", self.request_id))
            if self.gate.draining:
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
    """What the proxy or the client calls this request; it goes back to them and into the log."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and len(value) <= _LONGEST_ID:
            return bytes(value)
    return b""
