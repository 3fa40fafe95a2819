"""The time of a search within minutes, and a reporter that ends a training when it is up."""

from __future__ import annotations

import time
from statistics import fmean

from mclrec.training.reporting import EpochRecord, EpochStart, Reporter, SilentReporter

__all__ = ["MEASURING", "Budget", "EpochClock", "OutOfTimeError"]

_RECENT = 5
"""Epochs of which the mean says how long the next will take."""

MEASURING = 1.0, 5.0
"""Seconds that are kept for the end: some, and so many validations, as the test has two protocols and two baselines."""


class OutOfTimeError(Exception):
    """The time of a training is up; its checkpoint is that of the last whole epoch."""


class Budget:
    """The time of all sessions of a search.

    Args:
        seconds: in all.
        began: when this session began, by `time.monotonic`.
    """

    def __init__(self, seconds: float, began: float) -> None:
        self.seconds, self._began = seconds, began
        self.before = self.validation = 0.0

    @property
    def spent(self) -> float:
        """Seconds of all sessions so far."""
        return self.before + time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds for training: those that measuring takes at the end are kept back."""
        fixed, validations = MEASURING
        return self.seconds - self.spent - fixed - validations * self.validation


class EpochClock(SilentReporter):
    """Ends a training by `OutOfTimeError` where the next epoch would not end in time, or this one has not.

    Args:
        inner: receives the progress.
        budget: the time; is told how long validation takes.
        kept: seconds that the training has to leave.
        expected: seconds of an epoch, as far as they are known; else 0.
        lines: whether finished epochs are passed on too, and not only their steps.
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
        """Seconds of an epoch, validation included."""
        return fmean(self._times[-_RECENT:]) if self._times else self._expected

    def epoch_started(self, start: EpochStart) -> None:
        """Begin an epoch, if it is going to end in time; implements `Reporter.epoch_started`."""
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
        """Note the time of the epoch; implements `Reporter.epoch_finished`."""
        self._times.append(time.monotonic() - self._began)
        self._budget.validation = max(self._budget.validation, self._times[-1] - record.seconds)
        if self._lines:
            self._inner.epoch_finished(record)
