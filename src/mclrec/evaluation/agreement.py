"""Whether two measurements order systems alike: Kendall's tau-b, and the pairs that change places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from mclrec.errors import EvaluationError

__all__ = ["changed_places", "kendall_tau"]


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Kendall's tau-b of two values a system: 1 for the same order, -1 for the opposite one.

    Concordant less discordant pairs, over the root of the product of the pairs that are not tied in each (Kendall, The
    treatment of ties in ranking problems, Biometrika 1945).

    Returns:
        The coefficient; None where all values of one measurement are equal, or there is one system.

    Raises:
        EvaluationError: they are of different numbers of systems.
    """
    if len(one) != len(other):
        raise EvaluationError(f"cannot compare the order of {len(one)} systems with that of {len(other)}")
    signs = [(_sign(a - b), _sign(c - d)) for (a, c), (b, d) in combinations(zip(one, other, strict=True), 2)]
    first, second = (sum(abs(sign[place]) for sign in signs) for place in (0, 1))
    if not first or not second:
        return None
    return sum(a * b for a, b in signs) / math.sqrt(first * second)


def changed_places(
    names: Sequence[str], one: Sequence[float], other: Sequence[float]
) -> list[tuple[str, str]]:
    """Pairs of systems of which the first is ahead in ``one``, and the second in ``other``."""
    found = []
    for (a, x, u), (b, y, v) in combinations(zip(names, one, other, strict=True), 2):
        if x > y and u < v:
            found.append((a, b))
        elif x < y and u > v:
            found.append((b, a))
    return found


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
