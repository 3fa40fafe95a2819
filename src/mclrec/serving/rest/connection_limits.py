"""Connection limits: uvicorn's httptools protocol with bounds on what one client can make the server hold.

Request heads are limited in size and time, bodies in time, unread answers in size and time, and pipelined requests in
number. `Connections` closes idle connections if there are too many, so that new ones, and `/health`, always get in.
"""

from __future__ import annotations

import json
from asyncio import AbstractEventLoop, TimerHandle, Transport
from collections.abc import Callable
from typing import Any, cast

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from mclrec.serving.rest.settings import Settings

__all__ = ["SPARE_CONNECTIONS", "BoundedProtocol", "Connections"]

SPARE_CONNECTIONS = 32
"""Connections beyond the configured maximum, on which `/health` and `/ready` are still answered."""

_MOST_PIPELINED = 16
"""Maximum number of pipelined requests on one connection; while so many wait, no more are parsed."""

_PART = 4096
"""Bytes that are parsed at once, enough for at most two hundred requests."""

_LINGER = 0.5
"""Seconds that a client has to read why it is refused, while anything that it still sends is discarded."""

_DEFAULT_HEADERS = (
    b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
)


class _TooLarge(Exception):
    """Aborts the parsing of a head that is too large."""


class Connections:
    """The open connections of a service.

    Args:
        settings: limits.
        refused: called with the status of each answer that is sent without the application.
    """

    def __init__(self, settings: Settings, refused: Callable[[int], None]) -> None:
        self.settings = settings
        self.refused = refused
        self._open: set[BoundedProtocol] = set()
        self._idle: dict[BoundedProtocol, None] = {}  # in the order in which they became idle
        self._unread: dict[BoundedProtocol, None] = {}  # in the order in which the clients stopped reading

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: BoundedProtocol) -> bool:
        """Register a new connection; if there are too many, close those that have been idle longest.

        Returns:
            Whether there is room for it.
        """
        most = self.settings.max_connections
        while len(self._open) >= most and self._idle:
            oldest = next(iter(self._idle))
            self.closed(oldest)
            oldest.make_room()
        if len(self._open) >= most + SPARE_CONNECTIONS:
            return False
        self._open.add(connection)
        self._idle[connection] = None
        return True

    def closed(self, connection: BoundedProtocol) -> None:
        """Deregister a connection that is closed or closing."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        self._unread.pop(connection, None)

    def busy(self, connection: BoundedProtocol) -> None:
        """Mark a connection as busy: the head of a request has arrived."""
        self._idle.pop(connection, None)

    def idle(self, connection: BoundedProtocol) -> None:
        """Mark a connection as idle: all its requests are answered."""
        if connection in self._open:
            self._idle[connection] = None

    def unread(self, connection: BoundedProtocol) -> None:
        """Record a client that does not read its answer; above the limit on unread bytes, abort the longest-waiting."""
        self._unread[connection] = None
        held = {one: one.transport.get_write_buffer_size() for one in self._unread}
        total = sum(held.values())
        for one, size in held.items():
            if total <= self.settings.max_unread:
                break
            total -= size
            self.closed(one)
            one.transport.abort()

    def read(self, connection: BoundedProtocol) -> None:
        """Record that a client reads again."""
        self._unread.pop(connection, None)


class _Flow(FlowControl):
    """Flow control that does not resume reading while pipelined requests wait."""

    def __init__(self, transport: Transport, may_read: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._may_read = may_read

    def resume_reading(self) -> None:
        if self._may_read():
            super().resume_reading()


class _Lingering:
    """A transport that sends the head and the body of an answer together, and lets clients read why they are refused.

    The server writes head and body separately, and each would cost a system call and a packet: a write is therefore
    held back for the next one, at most until the end of the event loop's iteration.

    While a client is still sending, only the server's sending side is shut down, and the connection is closed a little
    later: closing it at once with unread data would reset it, and the client would lose the answer.
    """

    def __init__(self, transport: Transport, loop: AbstractEventLoop, sending: Callable[[], bool]) -> None:
        self._transport, self._loop, self._sending = transport, loop, sending
        self._closing = False
        self._held = b""

    def write(self, data: bytes) -> None:
        if not data:
            return
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        else:
            self._held = data
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        held, self._held = self._held, b""
        if held and not self.is_closing():
            self._transport.write(held)

    def close(self) -> None:
        self._send()
        if self.is_closing():
            return
        if self._sending() and self._transport.can_write_eof():
            self._closing = True
            self._transport.write_eof()
            self._transport.resume_reading()
            self._loop.call_later(_LINGER, self._transport.close)
        else:
            self._transport.close()

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """One connection: uvicorn's protocol with bounds on heads, bodies, pipelines and unread answers."""

    def __init__(self, connections: Connections, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._all = connections
        self._settings = connections.settings
        self._timer: TimerHandle | None = None
        self._reading_timer: TimerHandle | None = None
        self._rest = b""  # received but not parsed yet
        self._deaf = False
        self._head = 0  # bytes since any part of the message was passed on
        self._upgrade = False
        self._running: RequestResponseCycle | None = None  # `cycle` is the newest, which may still be waiting

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Register the connection and start the timeout of the first head."""
        super().connection_made(transport)
        self.transport = cast("Transport", _Lingering(transport, self.loop, self._sending))
        self.flow = _Flow(transport, lambda: not (self.pipeline or self._rest))
        if self._all.opened(self):
            self._wait(self._settings.header_timeout)
        else:
            self._refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeouts and drop pending requests."""
        self._stop_waiting()
        self._stop_reading_timer()
        self._all.closed(self)
        self.pipeline.clear()
        self._rest = b""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received data, unless the client has been refused."""
        if self._deaf or self.transport.is_closing():
            return
        if self._timer is None and self._quiet():
            self._wait(
                self._settings.header_timeout
            )  # blank lines begin no message, and must not keep the connection open for ever
        self._rest = self._rest + data if self._rest else data
        self._parse()

    def _parse(self) -> None:
        """Parse part by part, as long as few pipelined requests wait; the rest stays unparsed."""
        self._unset_keepalive_if_required()
        while self._rest and not self._deaf and len(self.pipeline) < _MOST_PIPELINED:
            part, self._rest = self._rest[:_PART], self._rest[_PART:]
            self._head += len(part)
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade as found:
                self._go_on_without_upgrade(part[found.args[0] :])
            except httptools.HttpParserError:
                self._refuse(400, "this is not HTTP/1.1")
            if self._head > self._settings.max_head:
                self._refuse_head()

    def on_message_begin(self) -> None:
        """Start the timeout of the head."""
        self._wait(self._settings.header_timeout)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the timeout of the body, slightly longer than that of the routes, which answer 408 themselves."""
        if self._head > self._settings.max_head:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self._settings.max_head:
                self._refuse_head()
                raise _TooLarge
        self._wait(self._settings.body_timeout + 1)
        self._upgrade = bool(self.parser.should_upgrade())
        if self._upgrade:
            return  # the parser stops here
        self._head = 0
        self._all.busy(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Cancel the timeout."""
        if self._upgrade:
            return
        self._head = 0
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with the next request, or become idle."""
        super().on_response_complete()
        if self._rest and not self.transport.is_closing():
            self._parse()
        if self._quiet():
            self._all.idle(self)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """Start the timeout of a client that does not read, and enforce the limit on all unread answers."""
        super().pause_writing()
        self._expect_reading(self.transport.get_write_buffer_size())
        self._all.unread(self)

    def resume_writing(self) -> None:
        """Cancel the timeout: the client reads again."""
        self._stop_reading_timer()
        self._all.read(self)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that the parser cannot read, with an answer in JSON."""
        self._refuse(400, msg)

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Answer a request that offers a protocol upgrade in HTTP/1.1, ignoring the offer, as a server may.

        The parser stops after the head of such a request; a new parser reads it again without the offer.
        """
        if self.parser.get_method() == b"CONNECT":
            self._refuse(405, "this is not a proxy")
            return
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        dropped = (b"upgrade", b"http2-settings", b"connection")
        lines = [b"%b: %b" % (name, value) for name, value in self.headers if name not in dropped]
        lines += [b"connection: close"] * (not self.parser.should_keep_alive())
        head = b"\r\n".join([b"%b %b HTTP/%b" % (method, self.url, version), *lines, b"", b""])
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._head = 0
        self._rest = head + rest + self._rest

    def make_room(self) -> None:
        """Close an idle connection; a client that has not sent a request yet is told why."""
        if self._fresh():
            self._refuse(503, "too many connections")
        else:
            self.transport.close()

    def _quiet(self) -> bool:
        """Whether no request is in progress."""
        if self.pipeline:
            return False
        return self._fresh() or self.cycle.response_complete or self.cycle.disconnected

    def _sending(self) -> bool:
        """Whether the client is in the middle of sending, or has sent data that is not parsed yet."""
        middle = self._head > 0 or not (self._fresh() or not self.cycle.more_body)
        return middle or bool(self._rest)

    def _fresh(self) -> bool:
        """Whether there has been no request yet."""
        return cast("RequestResponseCycle | None", self.cycle) is None

    def _refuse_head(self) -> None:
        self._refuse(431, f"the head is too large: at most {self._settings.max_head} bytes")

    def _refuse(self, status: int, detail: str) -> None:
        """Send an error without the application and close; if earlier answers are pending, only close after them."""
        if self._deaf or self.transport.is_closing():
            return
        self._stop_listening()
        if not self._quiet():
            return
        body = json.dumps({"detail": detail}).encode()
        length = b"content-length: %d\r\n\r\n" % len(body)
        again = b"retry-after: 1\r\n" if status == 503 else b""
        self.transport.write(b"".join((STATUS_LINE[status], _DEFAULT_HEADERS, again, length, body)))
        self.transport.close()
        self._all.refused(status)

    def _unanswerable(self) -> bool:
        """Whether the only request in progress waits for the rest of its body, which will not be read."""
        return not self.pipeline and self.cycle.more_body and not self.cycle.response_started

    def _stop_listening(self) -> None:
        """Discard all further input, and close after the answers in progress."""
        self._deaf = True
        self._stop_waiting()
        if not self._fresh():
            self.cycle.keep_alive = False
            if self._unanswerable():
                self.cycle.disconnected = True
                self.cycle.message_event.set()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self._quiet():
            self._refuse(408, "the request arrived too slowly")
        else:
            self.transport.close()

    def _expect_reading(self, before: int) -> None:
        self._stop_reading_timer()
        self._reading_timer = self.loop.call_later(self._settings.body_timeout, self._check_reading, before)

    def _check_reading(self, before: int) -> None:
        """Abort the connection if the client has read nothing of its answer since the last check."""
        left = self.transport.get_write_buffer_size()
        if left >= before:
            self.transport.abort()
        else:
            self._expect_reading(left)

    def _stop_reading_timer(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
