"""Stop watch for training loops: records when batches end and the first loss, and ends training after enough."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.child import Document

__all__ = ["Enough", "StopWatch"]


class Enough(Exception):
    """Ends training once the requested batches are done."""


class StopWatch:
    """Records when each batch ends, and the loss of the first."""

    def __init__(self, warmup: int, batches: int) -> None:
        self.moments: list[float] = []
        self.first_loss = 0.0
        self._warmup, self._batches = warmup, batches

    def batch_ended(self, loss: Any) -> None:
        """Record the end of a batch; the time until the next one includes the preparation of a batch.

        Raises:
            Enough: it was the last one.
        """
        self.moments.append(time.perf_counter())
        if len(self.moments) == 1:
            self.first_loss = float(loss)
        if len(self.moments) == self._warmup + self._batches:
            raise Enough

    def timings(self, batches_per_epoch: int) -> Document:
        """The report: seconds of the batches after the warm-up, and the first loss."""
        seconds = [later - sooner for sooner, later in zip(self.moments, self.moments[1:], strict=False)]
        return {
            "first_loss": self.first_loss,
            "warmup": self._warmup,
            "batch_seconds": [round(value, 6) for value in seconds[self._warmup - 1 :]],
            "batches_per_epoch": batches_per_epoch,
        }
