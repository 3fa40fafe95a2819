"""Session stores: the newest items of each session under an opaque key, bounded in number, length, bytes and time.

`SessionMemory` belongs to one process. Several processes can share a `mclrec.serving.rest.session_file.SessionFile`.
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
"""Bytes counted per session in addition to its items: key, time and table entries."""

_SWEPT = 4
"""Number of sessions after which an event stops removing expired ones: more would block the event loop."""


class SessionsUnavailable(Exception):
    """The store cannot be read or written at the moment; the message is for clients and names no path.

    Attributes:
        reason: label for the metric.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a store.

    Attributes:
        sessions: maximum number of sessions.
        items: maximum number of items in a session.
        content: maximum bytes of all sessions, each with `OVERHEAD`.
        seconds: time that a session is kept after its last event.
    """

    sessions: int
    items: int
    content: int
    seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Bounds from the settings."""
        return cls(
            settings.max_sessions,
            settings.max_session_items,
            settings.max_session_bytes,
            settings.session_ttl,
        )


@dataclass(frozen=True, slots=True)
class Added:
    """Outcome of an event.

    Attributes:
        held: number of items in the session after the event.
        dropped: number of oldest items dropped for lack of room, possibly including some of the event.
    """

    held: int
    dropped: int


class SessionStore(Protocol):
    """Interface of session stores. A store belongs to one event loop."""

    async def add(self, key: str, items: Sequence[OutsideId], clear: bool, seconds: float) -> Added:
        """Append items to a session, which is emptied first if ``clear`` is set.

        Args:
            key: key of the session.
            items: the items, oldest first.
            clear: whether to empty the session first.
            seconds: time limit, after which `mclrec.serving.rest.batcher.Expired` is raised.

        Raises:
            SessionsUnavailable: the store cannot be written; nothing has changed.
        """

    async def read(self, keys: Sequence[str], seconds: float) -> list[list[OutsideId]]:
        """Items of sessions, oldest first; empty if a session is unknown or has expired.

        Args:
            keys: keys of the sessions.
            seconds: time limit, after which `mclrec.serving.rest.batcher.Expired` is raised.

        Raises:
            SessionsUnavailable: the store cannot be read.
        """

    def held(self) -> int:
        """Number of sessions, as far as this process knows."""


class SessionMemory:
    """Session store in the memory of one process, lost when it ends.

    Args:
        limits: bounds.
        metrics: metrics that record dropped sessions.
        now: clock in seconds.
    """

    def __init__(self, limits: Limits, metrics: Metrics, now: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._metrics, self._now = limits, metrics, now
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = (
            OrderedDict()
        )  # ordered by last event, oldest first
        self._content = 0

    async def add(self, key: str, items: Sequence[OutsideId], clear: bool, seconds: float) -> Added:  # noqa: ARG002
        """Append items; implements `SessionStore.add` without waiting."""
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
        """Items of sessions; implements `SessionStore.read` without waiting."""
        now = self._now()
        return [self._items(digest_of(key), now) for key in keys]

    def held(self) -> int:
        """Number of sessions."""
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
        except DamagedSession:  # no disk is involved: the machine's memory is failing
            self._remove(digest)
            self._metrics.sessions_dropped.labels("damaged").inc()
            return []

    def _remove(self, digest: bytes) -> None:
        found = self._kept.pop(digest, None)
        if found is not None:
            self._content -= len(found[1]) + OVERHEAD

    def _sweep(self, now: float) -> None:
        """Remove the oldest sessions: expired ones, a few at a time, and all that exceed the bounds."""
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
