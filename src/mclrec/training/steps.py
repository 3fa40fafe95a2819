"""Training steps: the updates of a batch in turn, each with losses, their means, and an optimiser step of its group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from mclrec.data.batches import Batch
from mclrec.distributed.processes import Processes
from mclrec.models.base import Recommender
from mclrec.models.phases import Losses, Phase, StepContext, Update
from mclrec.nn.dropout import seed_dropout
from mclrec.randomness import Stream, generator
from mclrec.training.loss_reader import LossReader, report_means
from mclrec.training.optimisers import Optimisers

__all__ = ["Means", "Steps", "Trained"]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A phase, and the objects that its steps need.

    Attributes:
        model: the model.
        phase: the phase.
        optimisers: the optimisers of the phase.
        losses: passes mean losses on to the host.
        processes: the processes that train together.
        device: the device to train on.
        precision: precision of matrix products: fp32 or bf16.
    """

    model: Recommender
    phase: Phase
    optimisers: Optimisers
    losses: LossReader
    processes: Processes
    device: torch.device
    precision: str


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """Mean losses of an update over the whole batch, on the device; the last, unnamed, is the minimised total."""

    names: tuple[str, ...]
    values: Tensor


class Steps:
    """Runs the updates of each batch of a phase.

    Args:
        trained: the phase, and the objects that its steps need.
    """

    width: int | None = None
    """Length to which the histories of batches must be padded; None for packed histories."""

    warm_up: int = 0
    """Number of batches at the beginning that take longer than later ones."""

    def __init__(self, trained: Trained) -> None:
        self._trained = trained

    def run(
        self, batch: Batch, size: int, key: tuple[int, ...], finished: Callable[[dict[str, float]], None]
    ) -> None:
        """Run the updates of one batch.

        Args:
            batch: this process's part of the batch.
            size: number of rows of the whole batch.
            key: seed, number of the phase, epoch and step.
            finished: receives the mean losses, by ``group/term`` if the phase updates several groups and by ``term``
                otherwise, once they are known; for a group that is updated twice, those of its last update.

        Raises:
            TrainingError: a loss is not finite; on a CUDA device this is raised some batches later.
        """
        reported: dict[str, float] = {}
        phase, losses = self._trained.phase, self._trained.losses
        for number, update in enumerate(phase.updates):
            self._seed_dropout(number, key)

            def report(means: Means, update: Update = update) -> None:
                losses.add(means.values, partial(report_means, reported, phase, update, means.names, key))

            self._update(number, batch, size, report)
        losses.end_batch(lambda: finished(reported))

    def close(self) -> None:
        """Free device memory that is used only by the steps of this phase."""

    def _update(self, number: int, batch: Batch, size: int, report: Callable[[Means], None]) -> None:
        """Run update ``number`` of the phase."""
        self._compute(number, batch, size, report)

    def _compute(self, number: int, batch: Batch, size: int, report: Callable[[Means], None]) -> None:
        """Compute an update: losses, which are reported first, gradients and the optimiser step."""
        trained = self._trained
        update = trained.phase.updates[number]
        trained.optimisers.reach_only(update.group)
        context = StepContext(
            lambda rows: trained.processes.gather(rows, size), alone=trained.processes.size == 1
        )
        enabled = trained.precision == "bf16"
        with torch.autocast(trained.device.type, dtype=torch.bfloat16, enabled=enabled):
            losses = self._shares(update.loss(batch, context))
            total = torch.stack([term.weight * term.mean.float() for term in losses.values()]).sum()
        report(Means(tuple(losses), self._means(losses, total)))
        trained.optimisers.step(update.group, total)

    def _shares(self, losses: Losses) -> Losses:
        """Scale loss terms to this process's share, so that a term of gathered rows, which all compute, counts once."""
        size = self._trained.processes.size
        return {
            name: replace(term, sum=term.sum / size) if term.whole and size > 1 else term
            for name, term in losses.items()
        }

    def _means(self, losses: Losses, total: Tensor) -> Tensor:
        """Mean of each term over the whole batch, and the minimised total; all-reduced, on the device."""
        means = [*(term.mean for term in losses.values()), total]
        return self._trained.processes.all_reduce_sum(torch.stack([mean.detach().double() for mean in means]))

    def _seed_dropout(self, number: int, key: tuple[int, ...]) -> None:
        """Seed dropout: each process has its own random stream, as it has its own rows.

        With several processes, random draws for a whole batch use a further stream that all processes share.
        """
        model, processes = self._trained.model, self._trained.processes
        common = generator(key[0], Stream.DROPOUT, *key[1:], number)
        if processes.size == 1:
            seed_dropout(model, common)
            return
        stream = number + len(self._trained.phase.updates) * (1 + processes.rank)
        seed_dropout(model, generator(key[0], Stream.DROPOUT, *key[1:], stream), common)
