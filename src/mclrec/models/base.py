"""Base classes of models: the interface for training, evaluation and inference, which refers to no specific model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.distributed.layout import ParameterLayout
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.distributed.shards import Shard
from mclrec.errors import ConfigError, EvaluationError
from mclrec.losses.additions import Additions
from mclrec.models.item_table import ItemTable, exclude, ranks_among
from mclrec.models.model_config import ModelConfig
from mclrec.models.phases import FitContext, Phase
from mclrec.nn.calibrated import Calibrated
from mclrec.nn.co_occurrence import CoOccurrence
from mclrec.nn.repeats import RepeatBias

__all__ = ["ModelConfig", "Recommender", "VectorRecommender"]


class Recommender(nn.Module, ABC):
    """Base of all models: a next-item recommender.

    Args:
        config: configuration of the model.
        num_items: V.
        num_users: U, for models with user vectors.

    Attributes:
        repeats: adds to the scores of items of the history; None for no additions.
        co_occurrence: adds to the scores of items that others had near those of the history; None for no additions.
            Both have numbers that validation chooses, and only a `VectorRecommender` has either.
    """

    config_type: ClassVar[type[ModelConfig]]
    needs_users: ClassVar[bool] = False
    item_tensors: ClassVar[Sequence[str]] = ()
    """Names of tensors in the state dict whose row i belongs to item i; rows after V are special ids."""
    supports_sharding: ClassVar[bool] = False
    """Whether all of `item_tensors` can be sharded by rows among processes; if so, batches without rows must work."""
    user_tensors: ClassVar[Sequence[str]] = ()
    """Names of tensors in the state dict whose row u belongs to user u, row 0 to unknown users."""
    counted_tensors: ClassVar[Sequence[str]] = ()
    """Names of tensors in the state dict that every run counts or chooses itself, even after a warm start."""
    memory_advice: ClassVar[str] = "make hidden_size, inner_size, layers or max_length smaller"
    """What users should do if the weights do not fit into memory."""
    max_length: int

    def __init__(self, config: ModelConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__()
        self.config = config
        self.num_items = num_items
        self.num_users = num_users if self.needs_users else 0
        self.shard = Shard.of(num_items)
        self.repeats: RepeatBias | None = None
        self.co_occurrence: CoOccurrence | None = None

    @classmethod
    def extra_of_training(cls, config: ModelConfig) -> str | None:  # noqa: ARG003 - for models that need one
        """The optional feature (`mclrec.extras`) that training with a configuration needs; None for none."""
        return None

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """Phases of training in order; empty for a model that only counts."""

    @abstractmethod
    def scores(self, histories: Histories) -> Tensor:
        """(B, V + 1) fp32 scores of all items; column 0, the padding id, is meaningless and never ranked."""

    def ranks(self, histories: Histories, items: Tensor, excluded: Packed | None, rows: int) -> Tensor:
        """(B,) rank of one item per history among all items; see `mclrec.models.item_table.ranks_among`.

        Args:
            histories: B histories.
            items: (B,) int64 on the host.
            excluded: B lists of items that are not candidates; None if all items are.
            rows: histories that are scored at a time.
        """
        ranks = torch.empty(len(histories), dtype=torch.int64)
        for start in range(0, len(histories), rows):
            scores = self.scores(histories.part(start, min(start + rows, len(histories))))
            if scores.shape[1:] != (self.num_items + 1,):
                raise EvaluationError(
                    f"{type(self).__name__}.scores returned {tuple(scores.shape)}, "
                    f"not (B, V + 1) = {(len(scores), self.num_items + 1)}"
                )
            part = slice(start, start + len(scores))
            candidates = scores.float()
            if excluded is not None:
                candidates = exclude(candidates, excluded.take(np.arange(part.start, part.stop)))
            ranks[part] = ranks_among(candidates, items[part])
        return ranks

    @property
    def reads(self) -> int:
        """Number of newest items that are read: ``max_length``, or fewer if no training history was that long."""
        return self.max_length

    @property
    def remembers(self) -> int | None:
        """Number of newest items that scores depend on, at least ``reads``; None for the whole history."""
        return self.reads

    def trained_users(self) -> npt.NDArray[np.bool_]:
        """(U,) whether training has seen each user; others are treated as unknown. Empty for models without users."""
        return np.ones(self.num_users, dtype=np.bool_)

    def layout(self, processes: Processes = SINGLE_PROCESS) -> ParameterLayout:
        """How parameters and buffers are distributed among ``processes``."""
        return ParameterLayout(processes, self.shard, self.item_tensors)

    def parameter_groups(self) -> Mapping[str, list[nn.Parameter]]:
        """Parameters by name of the group, to which updates refer; groups may overlap."""
        return {"all": list(self.parameters())}

    def learning_rates(self) -> Mapping[str, float]:
        """Learning rates of the groups that do not use the recipe's."""
        return {}

    def on_fit_start(self, data: SequenceData) -> None:
        """Read the training data once before training, to compute counts, similarities or indices."""

    def on_phase_start(self, phase: str) -> None:
        """Freeze or copy parameters before a phase; those with ``requires_grad`` False are not trained in the phase.

        Every phase, including a resumed one, begins with the same trainable parameters as training itself.
        """

    def on_epoch_start(self, context: FitContext) -> None:
        """Refit what changes once per epoch, into buffers: an epoch resumed midway does not call this again."""


class VectorRecommender(Recommender):
    """Base of models whose score is query vector . item vector + item bias."""

    counted_tensors: ClassVar[Sequence[str]] = (
        "co_occurrence.near",
        "co_occurrence.similarities",
        "co_occurrence.calibrated",
        "repeats.calibrated",
    )

    def __init__(self, config: ModelConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)

    @abstractmethod
    def query_vectors(self, histories: Histories) -> Tensor:
        """(B, d) query vector of each history."""

    @abstractmethod
    def items(self) -> ItemTable:
        """The item table that queries are scored against."""

    def padded_query_vectors(self, items: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 - for models that can
        """Query vectors of unknown users from padded histories, by tensor operations alone: the form for export.

        Args:
            items: (B, L) left-aligned, zeros after each history's end; L <= n.
            lengths: (B,) at least 1.

        Raises:
            ConfigError: the model does not define it.
        """
        raise ConfigError(f"{type(self).__name__} cannot be exported: it defines no padded_query_vectors")

    def padded_user_query_vectors(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:  # noqa: ARG002
        """`padded_query_vectors` of given users, for models that need users.

        Args:
            items: (B, L) left-aligned, zeros after each history's end; L <= n.
            lengths: (B,) at least 1.
            users: (B,) dense ids, 0 for an unknown user.

        Raises:
            ConfigError: the model does not define it.
        """
        raise ConfigError(
            f"{type(self).__name__} cannot be exported: it defines no padded_user_query_vectors"
        )

    @property
    def remembers(self) -> int | None:
        """Number of newest items that scores depend on; implements `Recommender.remembers`."""
        return self.reads if self._calibrated is None else None

    @property
    def _calibrated(self) -> RepeatBias | None:
        """The part that adds to items of whole histories; None if validation chose no such additions."""
        return self.repeats if self.repeats is not None and any(self.repeats.chosen) else None

    def additions(
        self, histories: Histories, newest: Histories, without: Calibrated[Any] | None = None
    ) -> Additions | None:
        """What repetition and co-occurrence add to some scores of the histories; None for no additions.

        Args:
            histories: as many items as the model remembers.
            newest: as many items as the model reads.
            without: the part whose chosen additions are left out.
        """
        parts: list[Additions] = []
        if self.repeats is not None:
            parts.append(self.repeats(newest.items, newest.offsets))
        if self.co_occurrence is not None and self.co_occurrence is not without:
            parts.append(self.co_occurrence(newest.items, newest.offsets))
        if self._calibrated is not None and self._calibrated is not without:
            parts.append(self._calibrated.of_whole(histories.items, histories.offsets))
        return reduce(Additions.together, parts) if parts else None

    def scores_apart(self, histories: Histories, part: Calibrated[Any]) -> tuple[Tensor, Additions]:
        """(B, V + 1) scores without the chosen additions of one part, and the features that its coefficients weigh.

        Args:
            histories: B whole histories.
            part: `repeats` or `co_occurrence`.
        """
        newest = histories.newest(self.reads)
        read = newest if part is self.co_occurrence else histories
        scores = self.items().scores(
            self.query_vectors(newest), self.additions(histories, newest, without=part)
        )
        return scores, part.features(read.items, read.offsets)

    def scores(self, histories: Histories) -> Tensor:
        """Score every item for every history; implements `Recommender.scores`."""
        return self.items().scores(*self._asked(histories))

    def ranks(self, histories: Histories, items: Tensor, excluded: Packed | None, rows: int) -> Tensor:
        """Rank one item per history through the item table; overrides `Recommender.ranks`."""
        if not len(histories) and not self.supports_sharding:
            return torch.empty(0, dtype=torch.int64)
        queries, additions = self._asked(histories)
        return self.items().ranks(queries, items, excluded, rows, additions)

    def _asked(self, histories: Histories) -> tuple[Tensor, Additions | None]:
        """Query vectors of histories, and the additions to their scores."""
        newest = histories if self._calibrated is None else histories.newest(self.reads)
        return self.query_vectors(newest), self.additions(histories, newest)
