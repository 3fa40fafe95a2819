"""Asynchronous transfer of losses from the device to the host, without stalling the device."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from mclrec.errors import TrainingError
from mclrec.models.phases import Phase, Update

__all__ = ["LossReader", "report_means"]


_INTERVAL = 0.1
"""Seconds between two copies; progress bars are not redrawn more often."""

_Use = Callable[[list[float]], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """The values of one batch on the device, the callback that receives each, and one to call after the last."""

    values: list[tuple[Tensor, _Use]]
    then: Callable[[], None]

    def pass_on(self, numbers: Iterator[float]) -> None:
        """Pass the numbers to the callbacks."""
        for values, use in self.values:
            use(list(islice(numbers, len(values))))
        self.then()


@dataclass(frozen=True, slots=True, eq=False)
class _Copy:
    """Pending copy of the values of some batches to the host."""

    batches: list[_Batch]
    numbers: Tensor
    arrived: torch.cuda.Event

    @classmethod
    def of(cls, batches: list[_Batch]) -> _Copy:
        """Queue one copy after the kernels that compute the values."""
        values = torch.cat([values for batch in batches for values, _ in batch.values])
        numbers = torch.empty_like(values, device="cpu", pin_memory=True).copy_(values, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        return cls(batches, numbers, arrived)

    def pass_on(self) -> None:
        """Wait until the values have arrived, and pass them to their batches, in order."""
        self.arrived.synchronize()
        numbers = iter(self.numbers.tolist())
        for batch in self.batches:
            batch.pass_on(numbers)


class LossReader:
    """Passes the values of small vectors to callbacks, in the order in which they were added.

    On the CPU, values are passed on immediately. On a CUDA device, the values of all batches are collected for
    ``interval`` seconds. Then one copy is queued after the kernels that compute them, and it is read when the next copy
    is queued: the host prepares batches in the meantime, and the device never runs out of work.

    Args:
        interval: seconds between two copies; a tenth by default.
    """

    def __init__(self, interval: float | None = None) -> None:
        self._interval = _INTERVAL if interval is None else interval
        self._copied = time.monotonic()
        self._of_batch: list[tuple[Tensor, _Use]] = []
        self._batches: list[_Batch] = []
        self._copies: deque[_Copy] = deque()

    def add(self, values: Tensor, use: _Use) -> None:
        """Pass ``values``, a vector, to the callback ``use``: immediately on the CPU, later on a CUDA device."""
        if not values.is_cuda:
            use(values.tolist())
            return
        self._of_batch.append((values, use))

    def end_batch(self, then: Callable[[], None]) -> None:
        """Call ``then`` once all values of the batch have been passed on."""
        if not self._of_batch:
            then()
            return
        self._batches.append(_Batch(self._of_batch, then))
        self._of_batch = []

    def keep_up(self) -> None:
        """Once per interval, queue a copy of all collected values, and pass on those of earlier copies."""
        if time.monotonic() - self._copied < self._interval:
            return
        self._copy()
        while len(self._copies) > 1:
            self._copies.popleft().pass_on()

    def catch_up(self) -> None:
        """Wait for the values of all batches, and pass them on."""
        self._copy()
        while self._copies:
            self._copies.popleft().pass_on()

    def _copy(self) -> None:
        self._copied = time.monotonic()
        if self._batches:
            self._copies.append(_Copy.of(self._batches))
            self._batches = []


def report_means(
    reported: dict[str, float],
    phase: Phase,
    update: Update,
    names: tuple[str, ...],
    key: tuple[int, ...],
    values: list[float],
) -> None:
    """Add the mean losses of one update to ``reported``; the last value is the minimised total, which is not added.

    Raises:
        TrainingError: the total is not finite.
    """
    means = dict(zip(names, values, strict=False))
    if not math.isfinite(values[-1]):
        raise TrainingError(_not_finite(phase, update, means, key))
    several = len({other.group for other in phase.updates}) > 1
    reported.update({f"{update.group}/{name}" if several else name: mean for name, mean in means.items()})


def _not_finite(phase: Phase, update: Update, means: dict[str, float], key: tuple[int, ...]) -> str:
    """Error message for a loss that is not finite: which one, and where."""
    parts = ", ".join(f"{name} {mean:.4g}" for name, mean in means.items())
    return (
        f"the loss of update {update.group!r} is not finite in phase {phase.name!r}, epoch {key[2]}, "
        f"batch {key[3] + 1} ({parts}): lower the learning rate, or train in fp32"
    )
