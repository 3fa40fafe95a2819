"""Communication with systemd and other supervisors: state notifications, and SIGHUP before the service is up."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress

__all__ = ["Hangup", "tell_supervisor"]


class Hangup:
    """SIGHUP handler for the time in which a model is loaded: it remembers that a reload was requested."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, *_: object) -> None:
        """Remember the request."""
        self.asked = True

    @classmethod
    def installed(cls) -> Hangup:
        """Return the handler, installing it if necessary."""
        handler = signal.getsignal(signal.SIGHUP)
        if not isinstance(handler, Hangup):
            handler = cls()
            signal.signal(signal.SIGHUP, handler)
        return handler


def tell_supervisor(state: str) -> None:
    """Send a state, such as ``READY=1``, to the socket in ``NOTIFY_SOCKET``; do nothing if it is not set."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.connect("\0" + address[1:] if address.startswith("@") else address)
        told.sendall(state.encode())
