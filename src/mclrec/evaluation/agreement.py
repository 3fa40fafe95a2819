"""Agreement of two measurements on the order of systems: Kendall's tau-b, and the pairs whose order is reversed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from mclrec.errors import EvaluationError

__all__ = ["changed_places", "kendall_tau"]


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Kendall's tau-b of two measurements of the same systems: 1 for the same order, -1 for the reverse order.

    The number of concordant minus discordant pairs, divided by the square root of the product of the numbers of untied
    pairs in each measurement (Kendall, The treatment of ties in ranking problems, Biometrika 1945).

    Returns:
        The coefficient; None if all values of one measurement are equal, or if there are fewer than two systems.

    Raises:
        EvaluationError: the measurements have different numbers of systems.
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
    """Pairs of systems whose order is reversed: the first is ahead in ``one``, the second in ``other``."""
    found = []
    for (a, x, u), (b, y, v) in combinations(zip(names, one, other, strict=True), 2):
        if x > y and u < v:
            found.append((a, b))
        elif x < y and u > v:
            found.append((b, a))
    return found


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
