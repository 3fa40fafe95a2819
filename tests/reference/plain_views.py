"""All possible views of a history and their probabilities: eq. 4 and the details of the official code, as loops."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, permutations

__all__ = ["View", "Views", "crops", "masks", "pairs", "reorders"]

View = tuple[int, ...]
Views = Counter[View]
"""Probabilities by view: a Counter adds up views that arise in several ways."""


def crops(history: View, ratio: float) -> Views:
    """Views of ``floor(ratio n)`` consecutive items, at least one."""
    kept = max(_share(history, ratio), 1)
    return _alike([history[start : start + kept] for start in range(len(history) - kept + 1)], history)


def masks(history: View, ratio: float, token: int) -> Views:
    """Views with ``floor(ratio n)`` positions replaced by the mask token."""
    return _alike(
        [
            tuple(token if place in hidden else item for place, item in enumerate(history))
            for hidden in combinations(range(len(history)), _share(history, ratio))
        ],
        history,
    )


def reorders(history: View, ratio: float) -> Views:
    """Views with a shuffled window of ``floor(ratio n)`` consecutive items."""
    moved = _share(history, ratio)
    return _alike(
        [
            (*history[:start], *window, *history[start + moved :])
            for start in range(len(history) - moved + 1)
            for window in permutations(history[start : start + moved])
        ],
        history,
    )


def pairs(operators: list[Views]) -> dict[tuple[View, View], float]:
    """Probabilities of pairs of views from two different operators, uniform over ordered pairs, drawn independently."""
    found: Counter[tuple[View, View]] = Counter()
    chosen = list(permutations(operators, 2))
    for first, second in chosen:
        for one, p in first.items():
            for two, q in second.items():
                found[one, two] += p * q / len(chosen)  # type: ignore[assignment]
    return dict(found)


def _share(history: View, ratio: float) -> int:
    return math.floor(ratio * len(history))


def _alike(views: list[View], history: View) -> Views:
    """Equal probabilities for all views; a single item is left unchanged."""
    if len(history) == 1:
        views = [history]
    found: Views = Counter()
    for view in views:
        found[view] += 1 / len(views)  # type: ignore[assignment]
    return found
