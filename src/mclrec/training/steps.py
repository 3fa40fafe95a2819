"""The updates of a batch, one after the other: losses, means, and a step of the group's optimiser."""

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
    """What the steps of a phase have to do with.

    Attributes:
        model: the model.
        phase: the phase.
        optimisers: those of the phase.
        losses: passes mean losses on.
        processes: which train together.
        device: where.
        precision: of products: fp32 or bf16.
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
    """Mean losses of an update over the whole batch, on the device; the last is what is minimised, without a name."""

    names: tuple[str, ...]
    values: Tensor


class Steps:
    """Runs the updates of each batch of a phase.

    Args:
        trained: the phase, and what is trained in it.
    """

    width: int | None = None
    """The length to which histories of the batches are to be padded; None for packed ones."""

    warm_up: int = 0
    """Batches at the beginning that take longer than all others do."""

    def __init__(self, trained: Trained) -> None:
        self._trained = trained

    def run(
        self, batch: Batch, size: int, key: tuple[int, ...], finished: Callable[[dict[str, float]], None]
    ) -> None:
        """Run the updates of one batch.

        Args:
            batch: this process's part of the batch.
            size: rows of the whole batch.
            key: seed, number of the phase, epoch and step.
            finished: receives the mean losses by ``group/term`` once they are known, the last ones of a group that is
                updated twice.

        Raises:
            TrainingError: a loss is not finite; from a CUDA device this is known some batches later.
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
        """Give back what is held on the device for the steps of the phase alone."""

    def _update(self, number: int, batch: Batch, size: int, report: Callable[[Means], None]) -> None:
        """Run update ``number`` of the phase."""
        self._compute(number, batch, size, report)

    def _compute(self, number: int, batch: Batch, size: int, report: Callable[[Means], None]) -> None:
        """Compute an update from the batch's tensors: losses, which are reported first, gradients and the step."""
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
        """Loss terms as this process's share: a term of gathered rows, which every process computes, counts once."""
        size = self._trained.processes.size
        return {
            name: replace(term, sum=term.sum / size) if term.whole and size > 1 else term
            for name, term in losses.items()
        }

    def _means(self, losses: Losses, total: Tensor) -> Tensor:
        """Mean of each term over the whole batch, and the loss that is minimised; on the device."""
        means = [*(term.mean for term in losses.values()), total]
        return self._trained.processes.all_reduce_sum(torch.stack([mean.detach().double() for mean in means]))

    def _seed_dropout(self, number: int, key: tuple[int, ...]) -> None:
        """Seed dropout: each process has a stream of its own, as it has rows of its own.

        With several processes, what is drawn once for a whole batch has one more stream, the same in all of them.
        """
        model, processes = self._trained.model, self._trained.processes
        common = generator(key[0], Stream.DROPOUT, *key[1:], number)
        if processes.size == 1:
            seed_dropout(model, common)
            return
        stream = number + len(self._trained.phase.updates) * (1 + processes.rank)
        seed_dropout(model, generator(key[0], Stream.DROPOUT, *key[1:], stream), common)
