"""Losses on their way from the device to the history, without making the host wait for the device."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mclrec.errors import TrainingError
from mclrec.models.phases import Phase, Update

__all__ = ["LossReader", "report_means"]


@dataclass(frozen=True, slots=True, eq=False)
class _Unread:
    """A copy on its way to the host, and what is done with it when it is there."""

    copy: Tensor
    arrived: torch.cuda.Event
    use: Callable[[list[float]], None]


class LossReader:
    """Passes the values of small tensors on, in the order in which they were given.

    On the CPU a value is there at once. From a CUDA device it is copied behind the work that computes it, and passed on
    by `catch_up`: the host prepares the next batch meanwhile, and the device never runs out of work.
    """

    def __init__(self) -> None:
        self._of_batch: list[_Unread] = []
        self._batches: deque[tuple[list[_Unread], Callable[[], None]]] = deque()

    def add(self, values: Tensor, use: Callable[[list[float]], None]) -> None:
        """Pass ``values`` to ``use``: now, or in a later `catch_up`."""
        if not values.is_cuda:
            use(values.tolist())
            return
        copy = torch.empty_like(values, device="cpu", pin_memory=True).copy_(values, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        self._of_batch.append(_Unread(copy, arrived, use))

    def end_batch(self, then: Callable[[], None]) -> None:
        """Call ``then`` once all values of the batch have been passed on."""
        if not self._of_batch:
            then()
            return
        self._batches.append((self._of_batch, then))
        self._of_batch = []

    def catch_up(self, leave: int = 0) -> None:
        """Wait for the values of all batches but the ``leave`` latest, and pass them on."""
        while len(self._batches) > leave:
            values, then = self._batches.popleft()
            for unread in values:
                unread.arrived.synchronize()
                unread.use(unread.copy.tolist())
            then()


def report_means(
    reported: dict[str, float],
    phase: Phase,
    update: Update,
    names: tuple[str, ...],
    key: tuple[int, ...],
    values: list[float],
) -> None:
    """Add the mean losses of one update, the last value of which is what was minimised, to ``reported``.

    Raises:
        TrainingError: that is not finite.
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
