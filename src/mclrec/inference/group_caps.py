"""At most n of a group in a list: the best list that keeps to it, by asking for longer lists until it is full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mclrec.data.packed import IntArray
from mclrec.inference.queries import DenseQuery, DenseRules, Ranked

__all__ = ["with_caps"]

_WIDER = 4
"""How many times as long each further list is."""


def with_caps(
    queries: Sequence[DenseQuery], listed: Callable[[Sequence[DenseQuery]], list[Ranked]]
) -> list[Ranked]:
    """Lists in which each item is the best one left that no cap is against.

    Going down the list of all items gives that, and what is kept of its beginning does not depend on its end.

    Args:
        queries: of which some have groups in their rules.
        listed: answers queries without regard to groups.
    """
    if not any(_groups(query) for query in queries):
        return listed(queries)
    answers: dict[int, Ranked] = {}
    waiting = {row: _wider(query) if _groups(query) else query for row, query in enumerate(queries)}
    while waiting:
        found, again = listed(list(waiting.values())), {}
        for (row, query), ranked in zip(waiting.items(), found, strict=True):
            groups = _groups(query)
            if not groups:
                answers[row] = ranked
                continue
            kept = _kept(ranked.items, groups, queries[row].k)
            if len(kept) == queries[row].k or len(ranked.items) < query.k:
                answers[row] = Ranked(ranked.items[kept], ranked.scores[kept], ranked.popular)
            else:
                again[row] = _wider(query)
        waiting = again
    return [answers[row] for row in range(len(queries))]


def _groups(query: DenseQuery) -> Sequence[tuple[IntArray, int]]:
    rules: DenseRules | None = query.rules
    return () if rules is None else rules.groups


def _wider(query: DenseQuery) -> DenseQuery:
    return replace(query, k=_WIDER * query.k)


def _kept(items: IntArray, groups: Sequence[tuple[IntArray, int]], k: int) -> IntArray:
    """Places of the items that stay: the first k against which no cap is."""
    if len(groups) == 1:
        numbers, most = groups[0][0][items], groups[0][1]
        return np.flatnonzero((numbers < 0) | (_earlier(numbers) < most))[:k]
    return _kept_by_several(items, groups, k)


def _earlier(numbers: IntArray) -> IntArray:
    """How many of the same number stand before each."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(numbers) else order
    earlier = np.empty_like(numbers)
    earlier[order] = np.arange(len(numbers)) - np.repeat(starts, np.diff([*starts, len(numbers)]))
    return earlier


def _kept_by_several(items: IntArray, groups: Sequence[tuple[IntArray, int]], k: int) -> IntArray:
    """`_kept` one item after the other: what one cap leaves out does not count for another."""
    kept: list[int] = []
    held: Counter[tuple[int, int]] = Counter()
    for place, item in enumerate(items.tolist()):
        keys = [(one, int(numbers[item])) for one, (numbers, _) in enumerate(groups) if numbers[item] >= 0]
        if all(held[key] < groups[key[0]][1] for key in keys):
            held.update(keys)
            kept.append(place)
            if len(kept) == k:
                break
    return np.array(kept, dtype=np.int64)
