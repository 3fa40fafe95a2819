"""What systemd and its like are told, and what they ask by signals before the service is up."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress

__all__ = ["Hangup", "tell_supervisor"]


class Hangup:
    """A handler of SIGHUP for the time in which a model is loaded: it remembers that another reload was asked for."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, *_: object) -> None:
        """Remember it."""
        self.asked = True

    @classmethod
    def installed(cls) -> Hangup:
        """The handler, which is installed if it is not."""
        handler = signal.getsignal(signal.SIGHUP)
        if not isinstance(handler, Hangup):
            handler = cls()
            signal.signal(signal.SIGHUP, handler)
        return handler


def tell_supervisor(state: str) -> None:
    """Send a state, such as ``READY=1``, to the socket that systemd names; do nothing where it names none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.connect("\0" + address[1:] if address.startswith("@") else address)
        told.sendall(state.encode())
