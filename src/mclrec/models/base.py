"""What every model is to the trainer, the evaluation and the predictor; nothing here knows a model by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from mclrec.data.batches import Batch, Histories
from mclrec.data.examples import Examples, prefixes, sequences
from mclrec.data.negatives import SharedNegatives
from mclrec.data.packed import IntArray, Packed
from mclrec.data.sequences import SequenceData
from mclrec.errors import ConfigError
from mclrec.losses.sharded_softmax import vocab_parallel_cross_entropy
from mclrec.losses.softmax import chunked_linear_cross_entropy
from mclrec.nn.items import Shard, lookup
from mclrec.shapes import round_up

__all__ = [
    "FitContext",
    "ItemTable",
    "Losses",
    "ModelConfig",
    "Phase",
    "Recommender",
    "StepContext",
    "Term",
    "TrainingPhase",
    "Update",
    "VectorRecommender",
    "Viewer",
]


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One part of a loss, as a sum and what to divide it by, so that parts of a batch add up correctly.

    Attributes:
        sum: over the rows at hand.
        count: of the whole batch, whatever part of it is at hand.
        weight: of the part in the loss.
        whole: whether the sum is over the whole batch already, being made of gathered rows.
    """

    sum: Tensor
    count: float = 1.0
    weight: float = 1.0
    whole: bool = False

    @property
    def mean(self) -> Tensor:
        """Sum / count, not weighted: what progress bars and histories show."""
        return self.sum / self.count


Losses = dict[str, Term]
"""Parts of a loss by name: what is minimised is the sum of weight * sum / count."""


class ModelConfig(BaseModel):
    """Base of the models' configurations: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


@dataclass(frozen=True, slots=True)
class StepContext:
    """Where a loss is computed. ``gather`` collects rows of all processes: the identity in one."""

    gather: Callable[[Tensor], Tensor] = lambda rows: rows


@dataclass(frozen=True, slots=True)
class FitContext:
    """What a model may use at the start of an epoch: the training data and a keyed generator."""

    data: SequenceData
    epoch: int
    generator: Callable[[], np.random.Generator]


@dataclass(frozen=True, slots=True)
class Update:
    """One optimiser step: a loss, and the group of parameters that its gradient reaches."""

    loss: Callable[[Batch, StepContext], Losses]
    group: str


class Phase(Protocol):
    """A stretch of training with its own examples and updates: pre-training, say, then training."""

    @property
    def name(self) -> str:
        """How progress bars and history call it."""

    @property
    def updates(self) -> Sequence[Update]:
        """Optimiser steps of one batch, in order."""

    @property
    def epochs(self) -> int | None:
        """Epochs at most; None for the recipe's number."""

    @property
    def validate(self) -> bool:
        """Whether the validation metric is computed after each epoch, and may stop the phase."""

    def examples(self, data: SequenceData) -> Examples:
        """Index of the training examples, built once."""

    def prepare(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Batch:
        """One batch, with whatever is drawn at random for it."""


Viewer = Callable[[Packed, np.random.Generator], Sequence[Packed]]
NegativeSampler = Callable[[Examples, IntArray, np.random.Generator], IntArray]


@dataclass(frozen=True)
class TrainingPhase:
    """The usual phase: predict the next item, after prefixes or at every position of a sequence.

    Attributes:
        updates: optimiser steps of one batch.
        unit: ``prefixes`` (one target an example) or ``sequences`` (one at every position).
        max_length: n, the longest history.
        views: draws further versions of the inputs, for contrast.
        negatives: draws negative items for each target.
        shared: draws negative items for all targets of a batch.
    """

    updates: Sequence[Update]
    unit: Literal["prefixes", "sequences"]
    max_length: int
    views: Viewer | None = None
    negatives: NegativeSampler | None = None
    shared: SharedNegatives | None = None
    name: str = "train"
    epochs: int | None = None
    validate: bool = True

    def examples(self, data: SequenceData) -> Examples:
        """See `Phase.examples`."""
        return (
            prefixes(data, self.max_length) if self.unit == "prefixes" else sequences(data, self.max_length)
        )

    def prepare(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Batch:
        """See `Phase.prepare`."""
        inputs, users = examples.inputs(rows), examples.at(rows).users + 1
        views = self.views(inputs, rng) if self.views else ()
        # Child generators: what the views draw, or whether there are any, does not move the negatives.
        negatives = self.negatives(examples, rows, rng.spawn(1)[0]) if self.negatives else None
        batch = Batch(
            Histories.of(inputs, users),
            torch.from_numpy(examples.targets(rows)),
            count=len(rows) * examples.num_targets / len(examples),
            views=tuple(Histories.of(view, users) for view in views),
            negatives=None if negatives is None else torch.from_numpy(negatives),
        )
        if self.shared is None:
            return batch
        drawn = self.shared(examples, rows, rng.spawn(1)[0])
        counts = torch.from_numpy(self.shared.log_counts(drawn))
        return replace(batch, shared=torch.from_numpy(drawn), shared_log_counts=counts)


class ItemTable:
    """The catalogue as vectors and biases; losses and rankings reach it only through here.

    Where several processes share the rows out, each has its own of them, and all must ask for the same things in the
    same order. What comes back is what one process with all rows would get.

    Args:
        weight: (V + 1 or more, d); row ``i`` is item ``i``, row 0 the padding id; rows after V are ignored.
        num_items: V.
        bias: (V + 1 or more,) or None.
        shard: the rows that this process has of both; all if None.
    """

    def __init__(
        self, weight: Tensor, num_items: int, bias: Tensor | None = None, shard: Shard | None = None
    ) -> None:
        self.weight, self.bias, self.num_items = weight, bias, num_items
        self.shard = shard or Shard(len(weight))

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of ``ids``: shape (*ids.shape, d)."""
        return lookup(self.weight, ids, self.shard)

    def pair_scores(self, queries: Tensor, ids: Tensor) -> Tensor:
        """Score of each query (..., d) with the item of its own row, ids (...): shape (...)."""
        scores = (queries * self.lookup(ids)).sum(-1)
        return scores if self.bias is None else scores + lookup(self.bias, ids, self.shard)

    def scores_of(self, queries: Tensor, ids: Tensor) -> Tensor:
        """(B, N) scores in fp32 of the same items ``ids`` (N,) for every query."""
        bias = None if self.bias is None else lookup(self.bias, ids, self.shard)
        count = len(queries)
        rows = F.pad(queries, (0, 0, 0, round_up(count, 16) - count))  # few shapes, see mclrec.shapes
        return F.linear(rows, self.lookup(ids), bias)[:count].float()

    def scores(self, queries: Tensor) -> Tensor:
        """(B, V + 1) scores in fp32 of all ids, the padding id included; of a process's own ids if there are others.

        Those are `Shard.count` of V + 1, from `Shard.first` on.
        """
        rows = self.shard.count(self.num_items + 1)
        return F.linear(queries, self.weight[:rows], None if self.bias is None else self.bias[:rows]).float()

    def cross_entropy(self, queries: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows of the softmax cross-entropy over all ids, the padding id included (eq. 3 as logits)."""
        classes = self.num_items + 1
        if self.shard.whole:
            return chunked_linear_cross_entropy(queries, self.weight, self.bias, targets, classes=classes)
        return vocab_parallel_cross_entropy(
            queries,
            self.weight,
            self.bias,
            targets,
            first=self.shard.first,
            classes=self.shard.count(classes),
            among=self.shard.processes,
        )


class Recommender(nn.Module, ABC):
    """A next-item recommender.

    Args:
        config: the model's own configuration.
        num_items: V.
        num_users: U, for models with user vectors.
    """

    config_type: ClassVar[type[ModelConfig]]
    needs_users: ClassVar[bool] = False
    item_tensors: ClassVar[Sequence[str]] = ()
    """Names in the state dict, where it has them, whose row i belongs to item i; rows after V are special ids."""
    supports_sharding: ClassVar[bool] = False
    """Whether all of `item_tensors` can be shared out by rows among processes; see `mclrec.nn.items.sharded`."""
    user_tensors: ClassVar[Sequence[str]] = ()
    """Names in the state dict whose row u belongs to user u, row 0 to unknown ones."""
    max_length: int

    def __init__(self, config: ModelConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__()
        self.config = config
        self.num_items = num_items
        self.num_users = num_users if self.needs_users else 0
        self.shard = Shard.of(num_items)

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """Phases of training in order; empty for a model that only counts."""

    @abstractmethod
    def scores(self, histories: Histories) -> Tensor:
        """(B, V + 1) fp32 scores of all items; column 0, the padding id, means nothing and is never ranked."""

    def scores_by_parts(self, histories: Histories, rows: int) -> Iterator[Tensor]:
        """`scores` of ``rows`` histories after the other: what is scored fits into less memory than what is read."""
        for start in range(0, len(histories), rows):
            yield self.scores(histories.part(start, min(start + rows, len(histories))))

    def shard_of(self, key: str) -> Shard | None:
        """How the tensor of a name, or of a path that has the name in it, is divided; None where it is not."""
        divides = not self.shard.whole and any(name in key.split("/") for name in self.item_tensors)
        return self.shard if divides else None

    def parameter_groups(self) -> Mapping[str, list[nn.Parameter]]:
        """Parameters by the group that updates name; groups may overlap."""
        return {"all": list(self.parameters())}

    def learning_rates(self) -> Mapping[str, float]:
        """Learning rates of groups that do not use the recipe's."""
        return {}

    def on_fit_start(self, data: SequenceData) -> None:
        """Look at the training data once: counts, similarities, indices."""

    def on_phase_start(self, phase: str) -> None:
        """Freeze, unfreeze or copy before a phase."""

    def on_epoch_start(self, context: FitContext) -> None:
        """Refit what is refitted every epoch, into buffers: an epoch resumed in the middle is not started again."""


class VectorRecommender(Recommender):
    """A model whose score is query vector . item vector + item bias."""

    @abstractmethod
    def query_vectors(self, histories: Histories) -> Tensor:
        """(B, d) one vector a history."""

    @abstractmethod
    def items(self) -> ItemTable:
        """The catalogue's vectors."""

    def padded_query_vectors(self, items: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 - for models that can
        """`query_vectors` of unknown users by operations on padded histories alone: the form that is exported.

        Args:
            items: (B, L) left-aligned, zeros after each history's end; L <= n.
            lengths: (B,) at least 1.

        Raises:
            ConfigError: the model has none.
        """
        raise ConfigError(f"{type(self).__name__} cannot be exported: it defines no padded_query_vectors")

    def scores(self, histories: Histories) -> Tensor:
        """See `Recommender.scores`."""
        return self.items().scores(self.query_vectors(histories))

    def scores_by_parts(self, histories: Histories, rows: int) -> Iterator[Tensor]:
        """See `Recommender.scores_by_parts`. All histories are encoded at once."""
        items = self.items()
        for queries in self.query_vectors(histories).split(rows):
            yield items.scores(queries)
