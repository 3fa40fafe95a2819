"""Slow clients: uvicorn by itself waits for ever for the rest of a request."""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mclrec.serving.rest.settings import Settings

__all__ = ["PatientProtocol"]

_BODY = b'{"detail":"the request came too slowly"}'
_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class PatientProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, patient for the times that the settings of the application say."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._settings: Settings = config.app.settings
        self._patience: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait(self._settings.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Wait for the head."""
        self._wait(self._settings.header_timeout)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Wait for the body, a little longer than routes that read it: these say so in their own way."""
        self._wait(self._settings.body_timeout + 1)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().on_message_complete()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        if self.transport.is_closing():
            return
        if getattr(self.cycle, "response_complete", True):  # None before the first request
            self.transport.write(_SLOW)
        self.transport.close()
