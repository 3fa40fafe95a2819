"""Caps on the number of items per group in a list, enforced by requesting longer lists until k allowed items remain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mclrec.data.packed import IntArray
from mclrec.inference.queries import DenseQuery, DenseRules, Ranked

__all__ = ["with_caps"]

_GROWTH = 4
"""Factor by which each further list is longer than the one before."""


def with_caps(
    queries: Sequence[DenseQuery], listed: Callable[[Sequence[DenseQuery]], list[Ranked]]
) -> list[Ranked]:
    """Answer queries greedily under caps: each item is the best remaining one that no cap forbids.

    This is one pass down the ranking of all items, and which of its first items are kept does not depend on the rest.

    Args:
        queries: queries, some of which have groups in their rules.
        listed: answers queries without caps.
    """
    if not any(_groups(query) for query in queries):
        return listed(queries)
    answers: dict[int, Ranked] = {}
    waiting = {
        row: _with_longer_list(query) if _groups(query) else query for row, query in enumerate(queries)
    }
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
                again[row] = _with_longer_list(query)
        waiting = again
    return [answers[row] for row in range(len(queries))]


def _groups(query: DenseQuery) -> Sequence[tuple[IntArray, int]]:
    rules: DenseRules | None = query.rules
    return () if rules is None else rules.groups


def _with_longer_list(query: DenseQuery) -> DenseQuery:
    return replace(query, k=_GROWTH * query.k)


def _kept(items: IntArray, groups: Sequence[tuple[IntArray, int]], k: int) -> IntArray:
    """Indices of the items that are kept: the first k that no cap forbids."""
    if len(groups) == 1:
        numbers, most = groups[0][0][items], groups[0][1]
        return np.flatnonzero((numbers < 0) | (_earlier(numbers) < most))[:k]
    return _kept_by_several(items, groups, k)


def _earlier(numbers: IntArray) -> IntArray:
    """For each number, how many equal ones precede it."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(numbers) else order
    earlier = np.empty_like(numbers)
    earlier[order] = np.arange(len(numbers)) - np.repeat(starts, np.diff([*starts, len(numbers)]))
    return earlier


def _kept_by_several(items: IntArray, groups: Sequence[tuple[IntArray, int]], k: int) -> IntArray:
    """`_kept` for several caps, item by item: an item that one cap forbids does not count towards another."""
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
