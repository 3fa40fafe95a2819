"""HTTP on a connection, within bounds: uvicorn's protocol for httptools, and what clients may not make it hold.

A head has a size and a time, a body a time, unread answers a size and a time; requests that come before their turn are
few. `Connections` closes idle connections where there are too many, so that new ones, and `/health`, always get in.
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
"""Connections beyond the settings' number, on which `/health` and `/ready` are still answered."""

_AHEAD = 16
"""Requests that wait on one connection for the answer to an earlier one before no more are parsed."""

_PART = 4096
"""Bytes that are parsed at once; they hold two hundred requests at most."""

_LINGER = 0.5
"""Seconds that a client has to read why it is refused, while what it still sends is let go of."""

_DEFAULT_HEADERS = (
    b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
)


class _TooLarge(Exception):
    """Ends the parsing of a head that is too large."""


class Connections:
    """The open connections of a service.

    Args:
        settings: limits.
        refused: is told the status of each answer that is given without the application.
    """

    def __init__(self, settings: Settings, refused: Callable[[int], None]) -> None:
        self.settings = settings
        self.refused = refused
        self._open: set[BoundedProtocol] = set()
        self._idle: dict[BoundedProtocol, None] = {}  # in the order in which they became so
        self._unread: dict[BoundedProtocol, None] = {}  # in the order in which they stopped reading

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: BoundedProtocol) -> bool:
        """Count a new connection; where there are too many, close the one that has been idle longest.

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
        """A connection is closed, or about to be."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        self._unread.pop(connection, None)

    def busy(self, connection: BoundedProtocol) -> None:
        """The head of a request has come."""
        self._idle.pop(connection, None)

    def idle(self, connection: BoundedProtocol) -> None:
        """All requests are answered."""
        if connection in self._open:
            self._idle[connection] = None

    def unread(self, connection: BoundedProtocol) -> None:
        """A client does not read its answer; those that have not read longest go where too much is kept for them."""
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
        """A client reads on."""
        self._unread.pop(connection, None)


class _Flow(FlowControl):
    """Flow control that reads no further while requests wait for their turn."""

    def __init__(self, transport: Transport, may_read: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._may_read = may_read

    def resume_reading(self) -> None:
        if self._may_read():
            super().resume_reading()


class _Lingering:
    """A transport that sends the head and the body of an answer together, and lets clients read why they are refused.

    The server writes head and body one after the other, and each would be a call of the system and a packet: what is
    written waits for the next part, at most until the event loop's turn ends.

    While a client still sends, its own direction is closed first and the other one a little later: closing at once with
    data unread would reset the connection, and the client lose the answer.
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
        self._rest = b""  # what has come and is not parsed yet
        self._deaf = False
        self._head = 0  # bytes since something of the message was handed on
        self._upgrade = False
        self._running: RequestResponseCycle | None = (
            None  # `cycle` is the newest, which may wait for its turn
        )

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Count the connection, and start the timeout of the first head."""
        super().connection_made(transport)
        self.transport = cast("Transport", _Lingering(transport, self.loop, self._sending))
        self.flow = _Flow(transport, lambda: not (self.pipeline or self._rest))
        if self._all.opened(self):
            self._wait(self._settings.header_timeout)
        else:
            self._refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timeouts."""
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
        """Parse what has come, unless the client has gone too far."""
        if self._deaf or self.transport.is_closing():
            return
        if self._timer is None and self._quiet():
            self._wait(
                self._settings.header_timeout
            )  # blank lines begin no message, and nothing waits for ever
        self._rest = self._rest + data if self._rest else data
        self._parse()

    def _parse(self) -> None:
        """Parse a part after the other, as long as few requests wait for their turn; the rest waits as it is."""
        self._unset_keepalive_if_required()
        while self._rest and not self._deaf and len(self.pipeline) < _AHEAD:
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
        """Start the timeout of a head."""
        self._wait(self._settings.header_timeout)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the timeout of a body, a little longer than that of the routes, which answer 408 themselves."""
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
        """Hand a part of the body on."""
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the timeout."""
        if self._upgrade:
            return
        self._head = 0
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        super().on_response_complete()
        if self._rest and not self.transport.is_closing():
            self._parse()
        if self._quiet():
            self._all.idle(self)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """The client does not read: it has a time to begin, and what all such clients hold has a size."""
        super().pause_writing()
        self._expect_reading(self.transport.get_write_buffer_size())
        self._all.unread(self)

    def resume_writing(self) -> None:
        """The client reads on."""
        self._stop_reading_timer()
        self._all.read(self)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser cannot read, as JSON."""
        self._refuse(400, msg)

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Answer a request that offers another protocol in this one, as a server may.

        The parser stops after the head of such a request; another one reads it again without the offer.
        """
        if self.parser.get_method() == b"CONNECT":
            self._refuse(405, "this is no proxy")
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
        """Close an idle connection, of which a client that has not asked yet is told why."""
        if self._fresh():
            self._refuse(503, "too many connections")
        else:
            self.transport.close()

    def _quiet(self) -> bool:
        """Whether no request is under way."""
        if self.pipeline:
            return False
        return self._fresh() or self.cycle.response_complete or self.cycle.disconnected

    def _sending(self) -> bool:
        """Whether something of the client's is unread, or about to come."""
        middle = self._head > 0 or not (self._fresh() or not self.cycle.more_body)
        return middle or bool(self._rest)

    def _fresh(self) -> bool:
        """Whether there has been no request."""
        return cast("RequestResponseCycle | None", self.cycle) is None

    def _refuse_head(self) -> None:
        self._refuse(431, f"the head is too large: at most {self._settings.max_head} bytes")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer without the application and close; where earlier answers are to come, close after these."""
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
        """Whether the one request under way waits for the rest of its body, which will not come."""
        return not self.pipeline and self.cycle.more_body and not self.cycle.response_started

    def _stop_listening(self) -> None:
        """Let go of what comes from now on, and close after the answers that are under way."""
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
            self._refuse(408, "the request came too slowly")
        else:
            self.transport.close()

    def _expect_reading(self, before: int) -> None:
        self._stop_reading_timer()
        self._reading_timer = self.loop.call_later(self._settings.body_timeout, self._check_reading, before)

    def _check_reading(self, before: int) -> None:
        """Cut off a client that has read nothing of its answer for a while."""
        left = self.transport.get_write_buffer_size()
        if left >= before:
            self.transport.abort()
        else:
            self._expect_reading(left)

    def _stop_reading_timer(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
