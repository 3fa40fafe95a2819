"""Interface of models to the trainer: phases, their examples and batches, updates, and loss terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mclrec.data.batches import Batch, Histories, target_places
from mclrec.data.cloze import cloze
from mclrec.data.examples import Examples, prefixes, sequences, windows
from mclrec.data.negatives import SharedNegatives, UniformNegatives
from mclrec.data.packed import IntArray, Packed
from mclrec.data.sequences import SequenceData

__all__ = [
    "Collate",
    "FitContext",
    "Losses",
    "MaskedItems",
    "NextItem",
    "Phase",
    "StepContext",
    "Term",
    "Unit",
    "Update",
    "Viewer",
    "next_item_examples",
]


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One term of a loss, as a sum and its divisor, so that parts of a batch add up correctly.

    Attributes:
        sum: sum over the rows at hand, which may be part of a batch.
        count: divisor for the whole batch, even if only part of it is at hand.
        weight: weight of the term in the loss.
        whole: whether the sum is over the whole batch already, because it is computed from gathered rows.
    """

    sum: Tensor
    count: float = 1.0
    weight: float = 1.0
    whole: bool = False

    @property
    def mean(self) -> Tensor:
        """Sum / count, without the weight: what progress bars and histories show."""
        return self.sum / self.count


Losses = dict[str, Term]
"""Terms of a loss by name: what is minimised is the sum of weight * sum / count."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a loss may use besides its batch.

    Attributes:
        gather: collects the rows of all processes; the identity for a single process.
        alone: whether there is a single process, so that what the batch says about its rows holds for gathered rows.
    """

    gather: Callable[[Tensor], Tensor] = lambda rows: rows
    alone: bool = True


@dataclass(frozen=True, slots=True)
class FitContext:
    """What a model may use at the start of an epoch: the training data and a keyed random generator."""

    data: SequenceData
    epoch: int
    generator: Callable[[], np.random.Generator]


@dataclass(frozen=True, slots=True)
class Update:
    """One optimiser step: a loss, and the parameter group that its gradient reaches."""

    loss: Callable[[Batch, StepContext], Losses]
    group: str


ExampleIndex = Callable[[SequenceData], Examples]
"""Makes the index of training examples from the data."""

Unit = Literal["prefixes", "sequences", "windows"]
"""What a training example is."""

_INDEXES: Mapping[Unit, Callable[..., Examples]] = {
    "prefixes": prefixes,
    "sequences": sequences,
    "windows": windows,
}

Collate = Callable[[Examples, IntArray, np.random.Generator], Batch]
"""Makes a batch from the examples ``rows``; everything random in the batch is drawn from the generator."""


Viewer = Callable[[Packed, np.random.Generator], Sequence[Packed]]
"""Draws augmented versions of histories."""

NegativeSampler = Callable[[Examples, IntArray, np.random.Generator], IntArray]
"""Draws negative items for each target of the examples ``rows``."""


@dataclass(frozen=True)
class NextItem:
    """Collates histories with the items that follow them.

    Attributes:
        views: draws further versions of the histories, for contrasts.
        negatives: draws negative items for each target.
        shared: draws negative items for all targets of a batch.
    """

    views: Viewer | None = None
    negatives: NegativeSampler | None = None
    shared: SharedNegatives | None = None

    def __call__(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Batch:
        """Collate one batch."""
        inputs, users = examples.inputs(rows), examples.at(rows).users + 1
        views = self.views(inputs, rng) if self.views else ()
        # Child generators: what the views draw, or whether there are any, does not affect the negatives.
        negatives = self.negatives(examples, rows, rng.spawn(1)[0]) if self.negatives else None
        batch = Batch(
            Histories.of(inputs, users),
            torch.from_numpy(examples.targets(rows)),
            count=len(rows) * examples.num_targets / len(examples),
            targets_per_row=examples.num_targets / len(examples),
            views=tuple(Histories.of(view, users) for view in views),
            negatives=None if negatives is None else torch.from_numpy(negatives),
        )
        if self.shared is None:
            return batch
        drawn = self.shared(examples, rows, rng.spawn(1)[0])
        counts = torch.from_numpy(self.shared.log_counts(drawn))
        return replace(batch, shared=torch.from_numpy(drawn), shared_log_counts=counts)


@dataclass(frozen=True)
class MaskedItems:
    """Collates histories with some items masked; the targets are those items, and 0 at all other positions.

    Attributes:
        ratio: probability that an item is masked.
        last_only: share of histories in which the last item alone is masked.
        last_always: whether the last item of every history is masked too.
        negatives: draws a negative item for each position.
    """

    ratio: float
    last_only: float | None = None
    last_always: bool = False
    negatives: UniformNegatives | None = None

    def __call__(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Batch:
        """Collate one batch."""
        data, users = examples.data, examples.at(rows).users
        last_only = None if self.last_only is None else rng.random(len(rows)) < self.last_only
        inputs, hidden = cloze(
            examples.inputs(rows),
            self.ratio,
            data.num_items + 1,
            rng,
            last_only=last_only,
            last_always=self.last_always,
        )
        negatives = None
        if self.negatives is not None:
            drawn = self.negatives.for_users(data, np.repeat(users, inputs.lengths), rng.spawn(1)[0])
            negatives = torch.from_numpy(drawn)
        count = float(np.count_nonzero(hidden))
        targets = torch.from_numpy(hidden)
        histories, places = Histories.of(inputs, users + 1), target_places(targets)
        return Batch(histories, targets, count, negatives=negatives, places=places)


@dataclass(frozen=True)
class Phase:
    """A stage of training with its own examples and updates: pre-training, say, then training.

    Attributes:
        updates: optimiser steps of one batch, in order.
        examples: indexes the training examples, once.
        collate: makes one batch from some of them.
        name: of the phase in progress bars and in the training history.
        epochs: maximum number of epochs; None for the recipe's number.
        validate: whether the validation metric is computed after each epoch, and may stop the phase.
        varies: why the shapes in a step change from batch to batch. Empty if whole batches differ only in the values of
            their tensors once histories are padded to the model's ``max_length``: the losses take `PaddedHistories`
            too, and read nothing of a batch on the host.
    """

    updates: Sequence[Update]
    examples: ExampleIndex
    collate: Collate = NextItem()
    name: str = "train"
    epochs: int | None = None
    validate: bool = True
    varies: str = "its losses read packed histories"


def next_item_examples(unit: Unit, max_length: int) -> ExampleIndex:
    """Next-item examples: one target per prefix, or one at every position of a user's sequence or of its pieces."""
    return partial(_INDEXES[unit], max_length=max_length)
