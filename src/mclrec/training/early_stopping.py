"""When training stops early: the plateau of a validation curve."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

__all__ = ["on_plateau"]

_PROGRESS = 1.005
"""How much higher the later epochs have to be on average, for a curve that still rises."""


def on_plateau(values: Sequence[float], patience: int) -> bool:
    """Whether a curve has stopped rising: its last ``patience`` values are hardly above as many before, on average.

    A single best epoch is a matter of chance, all the more on a small log; means of several epochs are less so. A curve
    that goes down or creeps is on a plateau, one that dips and still rises is not.

    Args:
        values: validation metric of each epoch so far, the higher the better.
        patience: epochs in each of the two means.
    """
    if len(values) < 2 * patience:
        return False
    return fmean(values[-patience:]) <= _PROGRESS * fmean(values[-2 * patience : -patience])
