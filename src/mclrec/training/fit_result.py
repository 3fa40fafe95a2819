"""The result of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mclrec.training.reporting import EpochRecord

__all__ = ["FitResult"]


@dataclass(frozen=True, slots=True)
class FitResult:
    """Result of a training.

    Attributes:
        history: one record per epoch.
        best_epoch: epoch of the last phase whose weights the model now has; 0 if no epoch was validated. Without
            validation targets, it is the last epoch.
        best_value: validation metric of that epoch; None without validation.
        interrupted: whether a signal ended the training; the model then has the best weights so far.
        seconds_before: seconds that earlier, interrupted processes spent on this training.
    """

    history: Sequence[EpochRecord]
    best_epoch: int
    best_value: float | None
    interrupted: bool
    seconds_before: float
