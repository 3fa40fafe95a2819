"""Requests that name a session: its items are prepended to the history of the request."""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.serving.rest.schemas import EventsRequest, RecommendRequest
from mclrec.serving.rest.sessions import Added, SessionStore
from mclrec.serving.rest.telemetry import Metrics

__all__ = ["SessionRequests"]


class SessionRequests:
    """Reads and extends sessions for the endpoints, and updates the metrics.

    Args:
        store: the session store.
        metrics: metrics to update.
    """

    def __init__(self, store: SessionStore, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics

    async def add(self, asked: EventsRequest, seconds: float) -> Added:
        """Add the items of an event to its session.

        Args:
            asked: the event.
            seconds: time limit, after which `mclrec.serving.rest.batcher.Expired` is raised.

        Raises:
            SessionsUnavailable: the items cannot be stored.
        """
        added = await self._store.add(asked.session, asked.items, asked.clear, seconds)
        self._metrics.session_items.inc(len(asked.items))
        self._metrics.session_items_dropped.inc(added.dropped)
        return added

    async def extend(
        self, asked: Sequence[RecommendRequest], seconds: float
    ) -> tuple[list[RecommendRequest], list[int | None]]:
        """Prepend the items of sessions to the histories of requests.

        Args:
            asked: requests, some of which name a session.
            seconds: time limit, after which `mclrec.serving.rest.batcher.Expired` is raised.

        Returns:
            The requests, and for each the number of items in its session; None if it names no session.

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
