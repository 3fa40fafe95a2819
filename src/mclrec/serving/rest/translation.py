"""Translation between JSON and queries or answers: size limits of requests, and the form of replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from mclrec.data.packed import IntArray
from mclrec.data.vocabulary import OutsideId
from mclrec.inference.catalogue import Catalogue
from mclrec.inference.explain import LeaveOneOut
from mclrec.inference.queries import Query, Ranked, Recommendation, Recommendations
from mclrec.inference.runtime import DecodedQuery, Runtime
from mclrec.serving.rest.schemas import BatchRequest, EventsRequest, ExplainRequest, RecommendRequest
from mclrec.serving.rest.sessions import Added
from mclrec.serving.rest.settings import Settings

__all__ = [
    "LimitExceeded",
    "check",
    "events_reply",
    "explanation_reply",
    "ids_in",
    "query_of",
    "recommend_replies",
    "search_reply",
    "similar_reply",
    "written",
]

_EXACT = 2**53 - 1
"""Largest integer up to which a double represents all: JavaScript and many other readers of JSON use doubles."""


class LimitExceeded(Exception):
    """A request exceeds a limit of the settings, or is incomplete; the message says what is allowed."""


def limits_of(settings: Settings, schema: type[object]) -> dict[str, int]:
    """Maximum number of entries in each list of a request, by name."""
    return {
        "requests": settings.max_batch,
        "history": settings.max_history,
        "items": settings.max_history if schema is EventsRequest else settings.max_explained,
        "exclude": settings.max_list,
        "allow": settings.max_list,
    }


def check(
    request: RecommendRequest | BatchRequest | ExplainRequest | EventsRequest,
    limits: Mapping[str, int],
    max_k: int,
) -> None:
    """Check a request against the limits.

    Args:
        request: a request with valid values.
        limits: limits of its lists, from `limits_of`.
        max_k: the largest k.

    Raises:
        LimitExceeded: it exceeds a limit, or has neither history nor session.
    """
    if isinstance(request, BatchRequest):
        _at_most("requests", request.requests, limits)
        for one in request.requests:
            check(one, limits, max_k)
        return
    if isinstance(request, EventsRequest):
        _at_most("items", request.items, limits)
        return
    _at_most("history", request.history, limits)
    if isinstance(request, ExplainRequest):
        _at_most("items", request.items, limits)
        return
    if not request.history and request.session is None and "history" not in request.model_fields_set:
        raise LimitExceeded("history is missing: give one, or a session; [] asks for popular items")
    if request.k > max_k:
        raise LimitExceeded(f"k = {request.k}: at most {max_k}")
    _at_most("exclude", request.exclude, limits)
    _at_most("allow", request.allow or (), limits)


def _at_most(name: str, given: Sequence[object], limits: Mapping[str, int]) -> None:
    if len(given) > limits[name]:
        raise LimitExceeded(f"{name} has {len(given)} entries: at most {limits[name]}")


def query_of(request: RecommendRequest) -> Query:
    """The query that a request stands for."""
    return Query(
        request.history,
        request.user,
        request.k,
        request.exclude,
        request.allow,
        request.include_seen,
        request.filter,
        request.boost,
        request.diversify,
    )


_RULES = 10_000
"""Number of ids that rules count as: compiling them takes a pass over the whole catalogue."""


def ids_in(request: RecommendRequest) -> int:
    """Number of ids in a request; with rules, a number so large that the request is decoded in a thread."""
    if request.filter is not None or request.boost is not None or request.diversify is not None:
        return _RULES
    return len(request.history) + len(request.exclude) + len(request.allow or ())


def recommend_replies(
    runtime: Runtime,
    decoded: Sequence[DecodedQuery],
    answers: Sequence[Ranked],
    held: Sequence[int | None] | None = None,
) -> list[dict[str, Any]]:
    """Answers as `schemas.Answer`, in order.

    Args:
        runtime: the model.
        decoded: the decoded requests.
        answers: the model's answers.
        held: number of items in the session of each request, None for one without; None if no request names one.
    """
    replies = [
        {
            "items": _scored(found),
            "unknown": [written(item) for item in found.unknown],
            "unknown_user": found.unknown_user,
            "popular": found.popular,
            "model": runtime.version,
            **_titles(runtime.catalogue, one.query.history, ranked.items),
        }
        for found, one, ranked in zip(runtime.encode(decoded, answers), decoded, answers, strict=True)
    ]
    for reply, number in zip(replies, held or (), strict=False):
        if number is not None:
            reply["session_items"] = number
    return replies


def events_reply(runtime: Runtime, added: Added, found: DecodedQuery) -> dict[str, Any]:
    """Outcome of an event as `schemas.EventsAnswer`."""
    return {
        "session_items": added.held,
        "dropped": added.dropped,
        "unknown": [written(item) for item in found.unknown],
        "model": runtime.version,
    }


def similar_reply(runtime: Runtime, found: Recommendations) -> dict[str, Any]:
    """Similar items as `schemas.Similar`."""
    dense = runtime.catalogue.items.dense_known([item for item, _ in found])
    return {"items": _scored(found), "model": runtime.version, **_titles(runtime.catalogue, dense)}


def search_reply(catalogue: Catalogue, text: str, limit: int) -> dict[str, Any]:
    """The items that a search finds as `schemas.Found`."""
    found = catalogue.search(text, limit)
    listed = [
        {"item": written(catalogue.outside(item)), "count": int(catalogue.counts[item])}
        for item in found.items.tolist()
    ]
    return {"items": listed, "total": int(found.total), **_titles(catalogue, found.items)}


def explanation_reply(plan: LeaveOneOut, answers: Sequence[Ranked]) -> dict[str, Any]:
    """Explanations as `schemas.ExplainAnswer`."""
    return {
        "items": [
            {
                "item": written(one.item),
                "score": _short(one.score),
                "because": [
                    {"position": position, "item": written(item), "difference": _short(difference)}
                    for position, item, difference in one.because
                ],
            }
            for one in plan.explain(answers)
        ],
        "unknown": [written(item) for item in plan.unknown],
        "unknown_user": plan.unknown_user,
        "popular": answers[0].popular,
        "model": plan.runtime.version,
    }


def _titles(catalogue: Catalogue, *dense: IntArray) -> dict[str, Any]:
    """The field ``titles`` of a reply, omitted if the service has no titles."""
    if not catalogue.titles:
        return {}
    return {"titles": catalogue.titles_of(chain.from_iterable(items.tolist() for items in dense))}


def written(outside: OutsideId) -> OutsideId:
    """An id for JSON: a string if a reader that represents numbers as doubles would round it."""
    return outside if isinstance(outside, str) or -_EXACT <= outside <= _EXACT else str(outside)


def _short(score: float) -> float:
    """A score to six decimals; below 1 to seven significant digits, as those of models that count may be tiny."""
    return round(score, 6) if abs(score) >= 1 else float(f"{score:.7g}")


def _scored(items: Sequence[Recommendation]) -> list[dict[str, Any]]:
    """Items with their scores, as `schemas.Scored`."""
    return [{"item": written(item), "score": _short(score)} for item, score in items]
