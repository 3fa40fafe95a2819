"""Session stores: the newest items of each session by an opaque key, bounded in number, length, bytes and time.

`SessionMemory` is one process's own. Several processes share a `mclrec.serving.rest.session_file.SessionFile`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mclrec.data.vocabulary import OutsideId
from mclrec.serving.rest.session_items import DamagedSession, digest_of, newest, packed, unpacked
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics

__all__ = ["OVERHEAD", "Added", "Limits", "SessionMemory", "SessionStore", "SessionsUnavailable"]

OVERHEAD = 400
"""Bytes that a session is counted to take beside its items: key, time, and their places in a table."""

_SWEPT = 4
"""Sessions that are removed at once, at most, beside the one that is added: more would hold up the event loop."""


class SessionsUnavailable(Exception):
    """The store cannot be read or written now; the message is for clients, and names no path.

    Attributes:
        reason: a word for the metric.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a store.

    Attributes:
        sessions: that are kept at once.
        items: of a session.
        content: bytes of all sessions, each with `OVERHEAD`.
        seconds: that a session is kept after its last event.
    """

    sessions: int
    items: int
    content: int
    seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The bounds that the settings give."""
        return cls(
            settings.max_sessions,
            settings.max_session_items,
            settings.max_session_bytes,
            settings.session_ttl,
        )


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an event.

    Attributes:
        held: items that the session has now.
        dropped: its oldest items that had to go, or of the event's own where these are too many.
    """

    held: int
    dropped: int


class SessionStore(Protocol):
    """Keeps sessions. It belongs to one event loop."""

    async def add(self, key: str, items: Sequence[OutsideId], clear: bool, seconds: float) -> Added:
        """Append items to a session, after what it has is forgotten if ``clear``.

        Args:
            key: of the session.
            items: oldest first.
            clear: whether the session begins anew.
            seconds: until `mclrec.serving.rest.batcher.Expired`.

        Raises:
            SessionsUnavailable: the store cannot be written; nothing has changed.
        """

    async def read(self, keys: Sequence[str], seconds: float) -> list[list[OutsideId]]:
        """Items of sessions, oldest first; none where a session is unknown or has expired.

        Args:
            keys: of the sessions.
            seconds: until `mclrec.serving.rest.batcher.Expired`.

        Raises:
            SessionsUnavailable: the store cannot be read.
        """

    def held(self) -> int:
        """How many sessions there are, as far as this process knows."""


class SessionMemory:
    """Sessions of one process, in its memory: gone when it ends.

    Args:
        limits: bounds.
        metrics: are told of what is dropped.
        now: seconds of a clock.
    """

    def __init__(self, limits: Limits, metrics: Metrics, now: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._metrics, self._now = limits, metrics, now
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = (
            OrderedDict()
        )  # the one with the oldest event first
        self._content = 0

    async def add(self, key: str, items: Sequence[OutsideId], clear: bool, seconds: float) -> Added:  # noqa: ARG002
        """Append items; implements `SessionStore.add`, at once."""
        digest, now = digest_of(key), self._now()
        before = [] if clear else self._items(digest, now)
        kept = newest([*before, *items], self._limits.items)
        self._remove(digest)
        if kept:
            content = packed(kept)
            self._kept[digest] = now, content
            self._content += len(content) + OVERHEAD
        self._sweep(now)
        return Added(len(kept), len(before) + len(items) - len(kept))

    async def read(self, keys: Sequence[str], seconds: float) -> list[list[OutsideId]]:  # noqa: ARG002
        """Items of sessions; implements `SessionStore.read`, at once."""
        now = self._now()
        return [self._items(digest_of(key), now) for key in keys]

    def held(self) -> int:
        """How many sessions there are."""
        return len(self._kept)

    def _items(self, digest: bytes, now: float) -> list[OutsideId]:
        at, content = self._kept.get(digest, (now, b""))
        if not content:
            return []
        if now - at > self._limits.seconds:
            self._remove(digest)
            self._metrics.sessions_dropped.labels("expired").inc()
            return []
        try:
            return unpacked(content)
        except DamagedSession:  # no disk has been near it: the machine's memory is failing
            self._remove(digest)
            self._metrics.sessions_dropped.labels("damaged").inc()
            return []

    def _remove(self, digest: bytes) -> None:
        found = self._kept.pop(digest, None)
        if found is not None:
            self._content -= len(found[1]) + OVERHEAD

    def _sweep(self, now: float) -> None:
        """Remove what has expired, a little at a time, and what there is no room for."""
        limits, swept = self._limits, 0
        while self._kept:
            digest, (at, _) = next(iter(self._kept.items()))
            full = len(self._kept) > limits.sessions or self._content > limits.content
            expired = now - at > limits.seconds
            if not full and (not expired or swept >= _SWEPT):
                return
            self._remove(digest)
            self._metrics.sessions_dropped.labels("expired" if expired else "room").inc()
            swept += 1
