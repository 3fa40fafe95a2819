"""ASGI middleware that every request passes: authentication, limits, draining, metrics, logs, headers."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mclrec.serving.rest.keys import KeyRing
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.sites import Sites
from mclrec.serving.rest.telemetry import Metrics, log_event, log_request
from mclrec.serving.rest.tracing import Trace, Tracing

__all__ = ["Middleware", "Notes", "notes_of", "request_id"]

_NOTES = "mclrec.notes"
_GOOD_ID = re.compile(rb"[0-9A-Za-z._:/+=@-]{1,128}")
_ADMIN = frozenset({"/metrics", "/model/reload"})
_PROBES = frozenset({"/health", "/ready"})
_AGAIN = (b"retry-after", b"1")
_CLOSE = (b"connection", b"close")
_SAFE = (b"x-content-type-options", b"nosniff")


_Refusal = tuple[int, str, tuple[tuple[bytes, bytes], ...]]


@dataclass(slots=True)
class Notes:
    """What an endpoint reports about its request, for the log.

    Attributes:
        batch: size of the largest batch that the request was computed in.
        histories: the request's histories; None if they must not be logged.
        arm: name of the arm that answered, if there are several; for a batch, the names of all.
        trace: trace of the request; None if tracing is off.
    """

    batch: int | None = None
    histories: list[Any] | None = None
    arm: str | None = None
    trace: Trace | None = None


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
        metrics: metrics that record every request.
        keys: keys that clients must present; open to all if None.
        admin: keys for reloads and metrics; if None, these are refused if `keys` is set or other machines have access.
        sites: host names and origins that are accepted.
        public: paths that need no key.
        route_of: returns the declared path of the route that a request matches; "other" if there is none.
        tracing: creates a span for every request; no tracing if None.
        connections: returns the number of open connections; set by the server.
        draining: whether new requests are refused.
        in_flight: number of requests in progress.
    """

    app: ASGIApp
    settings: Settings
    metrics: Metrics
    keys: KeyRing | None = None
    admin: KeyRing | None = None
    sites: Sites = field(default_factory=Sites)
    public: frozenset[str] = frozenset()
    route_of: Callable[[Scope], str] = lambda _: "other"
    tracing: Tracing | None = None
    connections: Callable[[], int] = lambda: 0
    draining: bool = False
    in_flight: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; the server passes on HTTP requests only."""
        start = perf_counter()
        notes = scope[_NOTES] = Notes()
        headers = dict(scope["headers"])
        if self.tracing is not None:
            notes.trace = self.tracing.begin(headers)
        sender = _Sender(send, self, request_id(headers.get(b"x-request-id", b"")))
        self.in_flight += 1
        try:
            refusal = self._refusal(scope, headers)
            if refusal is None:
                await self.app(scope, receive, sender)
            else:
                await _refuse(sender, *refusal)
        except Exception as problem:
            log_event("error", {"route": self._route(scope), "id": sender.request_id.decode()}, problem)
        finally:
            self.in_flight -= 1
            self._record(scope, sender, notes, perf_counter() - start)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> _Refusal | None:
        """Status, reason and headers of the refusal of a request; None if it may proceed."""
        path = scope["path"]
        if path not in _PROBES:
            if self.draining:
                return 503, "the service is shutting down", (_AGAIN,)
            if self.connections() > self.settings.max_connections:
                return 503, "too many connections", (_AGAIN, _CLOSE)
            if reason := self.sites.misdirected(scope, headers):
                return 421, reason, ()
        if self.sites.foreign(scope["method"], headers):
            return 403, "pages of other sites may not send this request", ()
        if (refusal := self._without_key(path, headers.get(b"authorization", b""))) is not None:
            return refusal
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > self.settings.max_body:
            return 413, f"the body is too large: at most {self.settings.max_body} bytes", (_CLOSE,)
        return None

    def _without_key(self, path: str, authorization: bytes) -> _Refusal | None:
        """The refusal of a request that lacks a required key; None if it may proceed."""
        wanted, kind = (
            (self.admin, "an administrator's key") if path in _ADMIN else (self.keys, "a valid key")
        )
        if path in _ADMIN and wanted is None and (self.keys is not None or not self.sites.loopback):
            return 403, "not allowed over HTTP without --admin-key-file; SIGHUP also reloads", ()
        if wanted is None or path in self.public or wanted.admit(authorization):
            return None
        return 401, f"{kind} is needed: Authorization: Bearer KEY", ((b"www-authenticate", b"Bearer"),)

    def _route(self, scope: Scope) -> str:
        """Path of the route as declared, so that all items share one label."""
        return getattr(scope.get("route"), "path_format", None) or self.route_of(scope)

    def refused(self, status: int) -> None:
        """Count and log a request that the server refused before it reached the application."""
        self.metrics.observe("none", status, 0.0)
        log_request({"route": "none", "method": None, "status": status, "id": request_id(b"").decode()})

    def _record(self, scope: Scope, sender: _Sender, notes: Notes, seconds: float) -> None:
        route, status = self._route(scope), sender.status or 499  # 499: the client went away
        self.metrics.observe(route, status, seconds)
        fields: dict[str, object] = {
            "route": route,
            "method": scope["method"],
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        if notes.batch is not None:
            fields["batch"] = notes.batch
        if notes.arm is not None:
            fields["arm"] = notes.arm
        fields["id"] = request = sender.request_id.decode()
        if notes.trace is not None:
            fields["trace_id"] = notes.trace.trace_id
            notes.trace.end(scope["method"], route, status, request, notes.batch, notes.arm)
        if notes.histories is not None:
            fields["histories"] = notes.histories
        log_request(fields)


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
            headers = [*message.get("headers", ()), _SAFE, (b"x-request-id", self.request_id)]
            if self.middleware.draining:
                headers.append(_CLOSE)
            message = {**message, "headers": headers}
        await self.send(message)


async def _refuse(send: Send, status: int, detail: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    body = json.dumps({"detail": detail}).encode()
    fixed = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


def request_id(given: bytes) -> bytes:
    """Id of a request, for the answer and the log: the one that the proxy or client sent if valid, else a new one.

    Args:
        given: value of ``X-Request-Id``; valid are letters, digits and a few symbols, at most 128.
    """
    return given if _GOOD_ID.fullmatch(given) else os.urandom(8).hex().encode()
