"""Requests that name a session: what it holds stands in front of the history that they give."""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.serving.rest.schemas import EventsRequest, RecommendRequest
from mclrec.serving.rest.sessions import Added, SessionStore
from mclrec.serving.rest.telemetry import Metrics

__all__ = ["SessionRequests"]


class SessionRequests:
    """Reads and extends sessions for the endpoints, and counts it.

    Args:
        store: keeps the sessions.
        metrics: are told.
    """

    def __init__(self, store: SessionStore, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics

    async def add(self, asked: EventsRequest, seconds: float) -> Added:
        """Add the items of an event.

        Args:
            asked: the event.
            seconds: until `mclrec.serving.rest.batcher.Expired`.

        Raises:
            SessionsUnavailable: they are not kept.
        """
        added = await self._store.add(asked.session, asked.items, asked.clear, seconds)
        self._metrics.session_items.inc(len(asked.items))
        self._metrics.session_items_dropped.inc(added.dropped)
        return added

    async def extend(
        self, asked: Sequence[RecommendRequest], seconds: float
    ) -> tuple[list[RecommendRequest], list[int | None]]:
        """The requests with their sessions' items in front of their histories, and how many each session holds.

        Args:
            asked: requests, of which some name a session.
            seconds: until `mclrec.serving.rest.batcher.Expired`.

        Returns:
            The requests, and a number a request; None where it names no session.

        Raises:
            SessionsUnavailable: sessions cannot be read.
        """
        keys = list(dict.fromkeys(one.session for one in asked if one.session is not None))
        kept = dict(zip(keys, await self._store.read(keys, seconds), strict=True))
        self._metrics.session_misses.inc(sum(not items for items in kept.values()))
        extended, held = [], list[int | None]()
        for one in asked:
            items = None if one.session is None else kept[one.session]
            held.append(None if items is None else len(items))
            extended.append(one.model_copy(update={"history": [*items, *one.history]}) if items else one)
        return extended, held
