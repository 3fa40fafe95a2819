"""The time budget of a search within minutes, and a reporter that ends a training when the time is up."""

from __future__ import annotations

import time
from statistics import fmean

from mclrec.training.reporting import EpochRecord, EpochStart, Reporter, SilentReporter

__all__ = ["MEASURING", "Budget", "EpochClock", "OutOfTimeError"]

_RECENT = 5
"""Number of last epochs whose mean time predicts that of the next."""

MEASURING = 1.0, 5.0
"""Time reserved for the final test: seconds, plus a number of validations for its two protocols and two baselines."""


class OutOfTimeError(Exception):
    """The time of a training is up; its checkpoint is that of the last complete epoch."""


class Budget:
    """The time budget of a search over all its sessions.

    Args:
        seconds: total.
        began: start of this session, as given by `time.monotonic`.
    """

    def __init__(self, seconds: float, began: float) -> None:
        self.seconds, self._began = seconds, began
        self.before = self.validation = 0.0

    @property
    def spent(self) -> float:
        """Seconds spent in all sessions so far."""
        return self.before + time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds left for training, without those reserved for the final test."""
        fixed, validations = MEASURING
        return self.seconds - self.spent - fixed - validations * self.validation


class EpochClock(SilentReporter):
    """Ends a training with `OutOfTimeError` if the next epoch would not end in time, or the current one has not.

    Args:
        inner: receives the progress.
        budget: the time budget, in which the time of a validation is recorded.
        kept: seconds of the budget that must remain after the training.
        expected: estimated seconds of an epoch; 0 if unknown.
        lines: whether finished epochs are passed on to ``inner`` too, and not only their starts and steps.
    """

    def __init__(
        self,
        inner: Reporter,
        budget: Budget,
        kept: float = 0.0,
        expected: float = 0.0,
        *,
        lines: bool = False,
    ) -> None:
        self._inner, self._budget, self._kept, self._lines = inner, budget, kept, lines
        self._expected = expected
        self._began = time.monotonic()
        self._times: list[float] = []

    @property
    def seconds(self) -> float:
        """Mean seconds of the last epochs, validation included; before the first, the expected ones."""
        return fmean(self._times[-_RECENT:]) if self._times else self._expected

    def epoch_started(self, start: EpochStart) -> None:
        """Begin an epoch if it is expected to end in time; implements `Reporter.epoch_started`."""
        self._began = time.monotonic()
        if self.seconds > self._budget.left - self._kept:
            raise OutOfTimeError
        self._inner.epoch_started(start)

    def stepped(self, losses: dict[str, float]) -> None:
        """End the training if the time is up; implements `Reporter.stepped`."""
        if self._budget.left < self._kept:
            raise OutOfTimeError
        self._inner.stepped(losses)

    def epoch_finished(self, record: EpochRecord) -> None:
        """Record the time of the epoch; implements `Reporter.epoch_finished`."""
        self._times.append(time.monotonic() - self._began)
        self._budget.validation = max(self._budget.validation, self._times[-1] - record.seconds)
        if self._lines:
            self._inner.epoch_finished(record)
