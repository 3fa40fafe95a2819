"""Successive halving: how many candidates a time allows, which of them go on, and which one wins.

Candidates are trained to a few epochs, the better half of them to twice as many, and so on (Jamieson and Talwalkar,
AISTATS 2016). The one that the others are around, at first the recipe, always goes on, so that what wins has been
compared with it after the same number of epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

__all__ = ["RECIPE", "affordable", "epochs_to_come", "first_rung", "going_on", "smoothed", "winner_of"]

RECIPE = 1
"""Number of the candidate that is the recipe itself."""

_WINDOW = 5
"""Epochs of a mean at most: a single epoch is a matter of chance on a small log."""

_PROGRESS = 1.005
"""How much better a candidate has to be than the one that it is around; less is a matter of chance."""

_USUAL = 6
"""Epochs after which a training usually ends, in multiples of its patience."""


def first_rung(patience: int, epochs: int) -> int:
    """Epochs of the first rung: the patience of early stopping, which counts in steps, but at most half of all."""
    return max(1, min(patience, epochs // 2))


def epochs_to_come(reached: int, patience: int, epochs: int) -> int:
    """Epochs that a training which has reached some usually has before it."""
    return max(0, min(epochs, _USUAL * patience) - reached)


def smoothed(curve: Sequence[float], epochs: int) -> float:
    """The best mean of neighbouring epochs among the first ``epochs`` of a validation curve.

    The best and not the last, because the best epoch is what is kept of a training.

    Args:
        curve: validation metric of each epoch.
        epochs: that are looked at, at least one.
    """
    seen = curve[:epochs]
    window = min(_WINDOW, max(1, epochs // 2), len(seen))
    return max(fmean(seen[place : place + window]) for place in range(len(seen) - window + 1))


def going_on(values: Mapping[int, float], centre: int) -> list[int]:
    """Candidates that go on: the one that the others are around, and the better half of the others.

    Args:
        values: smoothed validation metric by number.
        centre: number of the one that the others are around.
    """
    others = sorted((number for number in values if number != centre), key=lambda one: (-values[one], one))
    return [centre, *sorted(others[: -(-len(others) // 2)])]


def winner_of(values: Mapping[int, float], centre: int) -> int:
    """The best candidate; the one that the others are around, unless another is better by more than chance."""
    best = max(values, key=lambda one: (values[one], -one))
    return best if values[best] > _PROGRESS * values[centre] else centre


def affordable(seconds: Sequence[float], left: float, rung: int, further: int) -> int:
    """Most candidates for which the rungs, and then the rest of one training, fit into a time.

    Args:
        seconds: of an epoch of each candidate, in their order. The first, which the others are around, has done its
            first rung; 0 if it is trained to its end, so that it costs nothing more.
        left: seconds that there are.
        rung: epochs of the first rung.
        further: epochs that the winner has before it after that.

    Returns:
        1 if there is no time for a comparison.
    """
    return next(
        (count for count in range(len(seconds), 1, -1) if _cost(seconds[:count], rung, further) <= left), 1
    )


def _cost(seconds: Sequence[float], rung: int, further: int) -> float:
    """Seconds of all rungs until one candidate is left beside the first, and of the rest of one of these two."""
    centre, other, count = seconds[0], fmean(seconds[1:]), len(seconds) - 1
    cost, reached = rung * other * count, rung
    while count > 1:
        count = -(-count // 2)
        cost += reached * (centre + other * count)
        reached *= 2
    return cost + max(0, further + rung - reached) * max(centre, other)
