"""JSON on one side, queries and answers on the other: limits of requests, and the shape of replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mclrec.inference.explain import LeaveOneOut
from mclrec.inference.queries import Query, Ranked, Recommendation, Recommendations
from mclrec.serving.rest.schemas import BatchRequest, ExplainRequest, RecommendRequest
from mclrec.serving.rest.settings import Settings

__all__ = ["LimitExceeded", "check", "explanation_reply", "query_of", "recommend_reply", "scored"]

_DIGITS = 6


class LimitExceeded(Exception):
    """A request is larger than the settings allow; the message says what, and what is allowed."""


def check(request: RecommendRequest | BatchRequest | ExplainRequest, settings: Settings) -> None:
    """Compare a request with the limits.

    Raises:
        LimitExceeded: it is beyond one.
    """
    if isinstance(request, BatchRequest):
        _at_most("requests", len(request.requests), settings.max_batch)
        for one in request.requests:
            check(one, settings)
        return
    _at_most("history", len(request.history), settings.max_history)
    if isinstance(request, ExplainRequest):
        _at_most("items", len(request.items), settings.max_explained)
        return
    if request.k > settings.max_k:
        raise LimitExceeded(f"k = {request.k}: at most {settings.max_k}")
    _at_most("exclude", len(request.exclude), settings.max_list)
    _at_most("allow", len(request.allow or ()), settings.max_list)


def _at_most(name: str, given: int, allowed: int) -> None:
    if given > allowed:
        raise LimitExceeded(f"{name} has {given} entries: at most {allowed}")


def query_of(request: RecommendRequest) -> Query:
    """What a request asks the model."""
    return Query(
        request.history, request.user, request.k, request.exclude, request.allow, request.include_seen
    )


def recommend_reply(found: Recommendations, version: str) -> dict[str, Any]:
    """An answer as `schemas.Answer`."""
    return {
        "items": scored(found),
        "unknown": found.unknown,
        "unknown_user": found.unknown_user,
        "popular": found.popular,
        "model": version,
    }


def explanation_reply(plan: LeaveOneOut, answers: Sequence[Ranked]) -> dict[str, Any]:
    """Explanations as `schemas.ExplainAnswer`."""
    return {
        "items": [
            {
                "item": one.item,
                "score": round(one.score, _DIGITS),
                "because": [
                    {**reason._asdict(), "difference": round(reason.difference, _DIGITS)}
                    for reason in one.because
                ],
            }
            for one in plan.explain(answers)
        ],
        "unknown": plan.unknown,
        "unknown_user": plan.unknown_user,
        "model": plan.runtime.version,
    }


def scored(items: Sequence[Recommendation]) -> list[dict[str, Any]]:
    """Items with their scores, as `schemas.Scored`."""
    return [{"item": item, "score": round(score, _DIGITS)} for item, score in items]
