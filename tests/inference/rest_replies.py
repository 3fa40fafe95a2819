"""The REST service's answers to queries, sent one by one and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from mclrec.inference.queries import Query
from mclrec.inference.runtime import Runtime
from mclrec.serving.rest.model_store import ModelStore
from mclrec.serving.rest.routes import make_app
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics

_BATCH = 64


def body_of(query: Query) -> dict[str, Any]:
    """The request body of a query, without rules."""
    names = ("history", "user", "k", "exclude", "allow", "include_seen")
    return {name: getattr(query, name) for name in names}


async def rest_replies(runtime: Runtime, asked: Sequence[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    """Replies to requests one by one, and in batches."""
    metrics, settings = Metrics(), Settings.of(deadline=60)
    app = make_app(ModelStore(lambda: runtime, runtime, settings, metrics), settings, metrics)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        single = [(await http.post("/recommend", json=one)).json() for one in asked]
        batch: list[Any] = []
        for start in range(0, len(asked), _BATCH):
            body = {"requests": asked[start : start + _BATCH]}
            batch += (await http.post("/recommend/batch", json=body)).json()["answers"]
    return single, batch
