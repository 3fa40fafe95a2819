"""Early stopping: where the validation curve no longer rises, or has had no better epoch for a while."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

__all__ = ["has_stopped", "on_plateau"]

_PROGRESS = 1.005
"""Factor by which the mean of the later epochs must exceed that of the earlier ones for progress."""


def has_stopped(values: Sequence[float], stopping: str, patience: int) -> bool:
    """Whether early stopping has ended a training after the last of these epochs.

    Args:
        values: validation metric of each epoch so far; higher is better.
        stopping: ``best``, if ``patience`` epochs without a better one end the training, or ``plateau``.
        patience: number of epochs.
    """
    if stopping == "plateau":
        return on_plateau(values, patience)
    return bool(values) and len(values) - 1 - values.index(max(values)) >= patience


def on_plateau(values: Sequence[float], patience: int) -> bool:
    """Whether a curve has stopped rising: the mean of its last ``patience`` values barely exceeds that of those before.

    The best single epoch is noisy, especially on a small log; means of several epochs are less so. A curve that falls
    or barely rises is on a plateau; one that dips but still rises overall is not.

    Args:
        values: validation metric of each epoch so far; higher is better.
        patience: number of epochs in each of the two means.
    """
    if len(values) < 2 * patience:
        return False
    return fmean(values[-patience:]) <= _PROGRESS * fmean(values[-2 * patience : -patience])
