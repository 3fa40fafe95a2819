"""Successive halving: how many candidates fit into the time, which of them survive a rung, and which one wins.

Candidates are trained for a few epochs, the better half of them for twice as many, and so on (Jamieson and Talwalkar,
AISTATS 2016). The centre, of which the others are variants and which at first is the recipe, always survives, so that
the winner has been compared with it after the same number of epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

__all__ = ["RECIPE", "affordable", "epochs_to_come", "first_rung", "going_on", "smoothed", "winner_of"]

RECIPE = 1
"""Number of the candidate that is the recipe itself."""

_WINDOW = 5
"""Maximum number of epochs averaged: on a small log, a single epoch is too noisy."""

_PROGRESS = 1.005
"""Factor by which a candidate must exceed the centre; a smaller gain may be chance."""

_USUAL = 6
"""Number of epochs after which a training usually ends, in multiples of its patience."""


def first_rung(patience: int, epochs: int) -> int:
    """Epochs of the first rung: the patience of early stopping (`auto` derives it from steps), at most half of all."""
    return max(1, min(patience, epochs // 2))


def epochs_to_come(reached: int, patience: int, epochs: int) -> int:
    """Number of epochs that a training usually still needs after having reached some."""
    return max(0, min(epochs, _USUAL * patience) - reached)


def smoothed(curve: Sequence[float], epochs: int) -> float:
    """The best moving average over the first ``epochs`` of a validation curve.

    The best and not the last, because a training keeps its best epoch.

    Args:
        curve: validation metric of each epoch.
        epochs: number of epochs to consider, at least one.
    """
    seen = curve[:epochs]
    window = min(_WINDOW, max(1, epochs // 2), len(seen))
    return max(fmean(seen[place : place + window]) for place in range(len(seen) - window + 1))


def going_on(values: Mapping[int, float], centre: int) -> list[int]:
    """Candidates that survive a rung: the centre, and the better half of the others.

    Args:
        values: smoothed validation metric by number.
        centre: number of the centre.
    """
    others = sorted((number for number in values if number != centre), key=lambda one: (-values[one], one))
    return [centre, *sorted(others[: -(-len(others) // 2)])]


def winner_of(values: Mapping[int, float], centre: int) -> int:
    """The best candidate if it clearly exceeds the centre (`_PROGRESS`), else the centre."""
    best = max(values, key=lambda one: (values[one], -one))
    return best if values[best] > _PROGRESS * values[centre] else centre


def affordable(seconds: Sequence[float], left: float, rung: int, further: int) -> int:
    """Largest number of candidates for which all rungs, and then the rest of one training, fit into the time.

    Args:
        seconds: time of an epoch of each candidate, in order. The first is the centre, which has done its first rung;
            0 if it is fully trained, so that it costs no more time.
        left: seconds left.
        rung: epochs of the first rung.
        further: epochs that the winner still needs after the first rung.

    Returns:
        The number, including the centre; 1 if there is no time for a comparison.
    """
    return next(
        (count for count in range(len(seconds), 1, -1) if _cost(seconds[:count], rung, further) <= left), 1
    )


def _cost(seconds: Sequence[float], rung: int, further: int) -> float:
    """Seconds of all rungs until the centre and one other remain, and of the rest of training the slower of the two."""
    centre, other, count = seconds[0], fmean(seconds[1:]), len(seconds) - 1
    cost, reached = rung * other * count, rung
    while count > 1:
        count = -(-count // 2)
        cost += reached * (centre + other * count)
        reached *= 2
    return cost + max(0, further + rung - reached) * max(centre, other)
