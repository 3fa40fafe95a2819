"""What every model is to training, evaluation and inference; nothing here knows a model by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import ClassVar

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
from mclrec.nn.co_occurrence import CoOccurrence, Nearness
from mclrec.nn.repeats import Chosen, RepeatBias

__all__ = ["ModelConfig", "Recommender", "VectorRecommender"]

FloatArray = npt.NDArray[np.float64]


class Recommender(nn.Module, ABC):
    """Base of all models: a next-item recommender.

    Args:
        config: configuration of the model.
        num_items: V.
        num_users: U, for models with user vectors.
    """

    config_type: ClassVar[type[ModelConfig]]
    needs_users: ClassVar[bool] = False
    item_tensors: ClassVar[Sequence[str]] = ()
    """Names of tensors in the state dict whose row i belongs to item i; rows after V are special ids."""
    supports_sharding: ClassVar[bool] = False
    """Whether all of `item_tensors` can be sharded by rows among processes; batches without rows must work then."""
    user_tensors: ClassVar[Sequence[str]] = ()
    """Names of tensors in the state dict whose row u belongs to user u, row 0 to unknown users."""
    counted_tensors: ClassVar[Sequence[str]] = ()
    """Names of tensors in the state dict that are counted or chosen anew in each run, whatever they were before."""
    memory_advice: ClassVar[str] = "make hidden_size, inner_size, layers or max_length smaller"
    """What to do where the weights do not fit into memory."""
    max_length: int

    def __init__(self, config: ModelConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__()
        self.config = config
        self.num_items = num_items
        self.num_users = num_users if self.needs_users else 0
        self.shard = Shard.of(num_items)

    @classmethod
    def extra_of_training(cls, config: ModelConfig) -> str | None:  # noqa: ARG003 - for models that need one
        """The feature of `mclrec.extras` that training with a configuration needs; None for none."""
        return None

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """Phases of training in order; empty for a model that only counts."""

    @abstractmethod
    def scores(self, histories: Histories) -> Tensor:
        """(B, V + 1) fp32 scores of all items; column 0, the padding id, means nothing and is never ranked."""

    def ranks(self, histories: Histories, items: Tensor, excluded: Packed | None, rows: int) -> Tensor:
        """(B,) rank of one item a history among all items; see `mclrec.models.item_table.ranks_among`.

        Args:
            histories: B histories.
            items: (B,) int64 on the host.
            excluded: B lists of items that are no candidates; None if all are.
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
        """Newest items of a history that are read: ``max_length``, or fewer where training had no such history."""
        return self.max_length

    @property
    def remembers(self) -> int | None:
        """Newest items of a history that its scores depend on, ``reads`` at least; None for all of them."""
        return self.reads

    def trained_users(self) -> npt.NDArray[np.bool_]:
        """(U,) whether training has seen each user; the others are answered as unknown ones. Empty without users."""
        return np.ones(self.num_users, dtype=np.bool_)

    def layout(self, processes: Processes = SINGLE_PROCESS) -> ParameterLayout:
        """Where ``processes`` hold the parameters and buffers."""
        return ParameterLayout(processes, self.shard, self.item_tensors)

    def parameter_groups(self) -> Mapping[str, list[nn.Parameter]]:
        """Parameters by the group that updates name; groups may overlap."""
        return {"all": list(self.parameters())}

    def learning_rates(self) -> Mapping[str, float]:
        """Learning rates of groups that do not use that of the recipe."""
        return {}

    def on_fit_start(self, data: SequenceData) -> None:
        """Look at the training data once, for counts, similarities or indices."""

    def on_phase_start(self, phase: str) -> None:
        """Freeze or copy before a phase: what has ``requires_grad`` False afterwards stays as it is in the phase.

        Every phase begins with the parameters trainable that were so when training began, a resumed one too.
        """

    def on_epoch_start(self, context: FitContext) -> None:
        """Refit what is refitted every epoch, into buffers: an epoch that is resumed midway does not start again."""

    @property
    def calibrates(self) -> bool:
        """Whether there is anything that validation chooses, for `calibrate` and `recalibrate`."""
        return False

    def calibrate(self, measure: Callable[[], float]) -> Mapping[str, float]:  # noqa: ARG002 - for models that can
        """Choose by validation what no loss sets as lists need it: once, after training, with the best weights.

        Args:
            measure: the validation metric of the model as it now is; items of the history are candidates.

        Returns:
            What was chosen, by name; empty for a model that has nothing to choose, which does not measure.
        """
        return {}

    def recalibrate(self, measure: Callable[[], float]) -> None:
        """Improve what `calibrate` chooses a little, before a validation: epochs are compared as lists will be.

        Args:
            measure: as `calibrate` takes it, of fewer targets.
        """

    def adopt_calibration(self, chosen: Mapping[str, float]) -> None:
        """Take what `calibrate` chose for another model by the same settings, which had items to validate on."""

    @property
    def nearness(self) -> Mapping[str, float]:
        """How much items near those of the history gain, by name, which `weigh_near_items` chooses; empty: nothing."""
        return {}

    def weigh_near_items(self, measure: Callable[[], FloatArray]) -> Mapping[str, float]:  # noqa: ARG002
        """Choose how much items gain that are near those of the history: once, before `calibrate`.

        Args:
            measure: the metric of each validation target by the model as it now is, under the protocol of training.

        Returns:
            What was chosen, by name; empty for a model that has nothing to choose, which does not measure.
        """
        return {}

    def adopt_near_items(self, chosen: Mapping[str, float]) -> None:
        """Take what `weigh_near_items` chose for another model by the same settings."""


class VectorRecommender(Recommender):
    """Base of models whose score is query vector . item vector + item bias.

    Attributes:
        repeats: what is added to the scores of items of the history; None for nothing.
        co_occurrence: what is added to the scores of items that others had near those of the history; None for nothing.
    """

    counted_tensors = (
        "co_occurrence.near",
        "co_occurrence.similarities",
        "co_occurrence.calibrated",
        "repeats.calibrated",
    )

    def __init__(self, config: ModelConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.repeats: RepeatBias | None = None
        self.co_occurrence: CoOccurrence | None = None

    @abstractmethod
    def query_vectors(self, histories: Histories) -> Tensor:
        """(B, d) query vector of each history."""

    @abstractmethod
    def items(self) -> ItemTable:
        """The item table that queries are scored against."""

    def padded_query_vectors(self, items: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 - for models that can
        """Query vectors of unknown users from padded histories by tensor operations alone: the form that is exported.

        Args:
            items: (B, L) left-aligned, zeros after each history's end; L <= n.
            lengths: (B,) at least 1.

        Raises:
            ConfigError: the model defines none.
        """
        raise ConfigError(f"{type(self).__name__} cannot be exported: it defines no padded_query_vectors")

    def padded_user_query_vectors(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:  # noqa: ARG002
        """`padded_query_vectors` of given users, for models that need users.

        Args:
            items: (B, L) left-aligned, zeros after each history's end; L <= n.
            lengths: (B,) at least 1.
            users: (B,) dense ids, 0 for an unknown user.

        Raises:
            ConfigError: the model has none.
        """
        raise ConfigError(
            f"{type(self).__name__} cannot be exported: it defines no padded_user_query_vectors"
        )

    @property
    def remembers(self) -> int | None:
        """Newest items of a history that its scores depend on; implements `Recommender.remembers`."""
        return self.reads if self._calibrated is None else None

    @property
    def _calibrated(self) -> RepeatBias | None:
        """What adds to items of whole histories; None where nothing was chosen for them."""
        return self.repeats if self.repeats is not None and any(self.repeats.chosen) else None

    @property
    def calibrates(self) -> bool:
        """Whether items of the history may gain; implements `Recommender.calibrates`."""
        return self.repeats is not None

    def calibrate(self, measure: Callable[[], float]) -> Mapping[str, float]:
        """Choose how much higher items of the history are to be; implements `Recommender.calibrate`."""
        return {} if self.repeats is None else self.repeats.calibrate(measure)._asdict()

    def recalibrate(self, measure: Callable[[], float]) -> None:
        """Move how much higher items of the history are; implements `Recommender.recalibrate`."""
        if self.repeats is not None:
            self.repeats.recalibrate(measure)

    def adopt_calibration(self, chosen: Mapping[str, float]) -> None:
        """Put items of the history as much higher; implements `Recommender.adopt_calibration`."""
        if self.repeats is not None:
            self.repeats.choose(Chosen(**chosen))

    @property
    def nearness(self) -> Mapping[str, float]:
        """How much co-occurrence adds; implements `Recommender.nearness`."""
        return {} if self.co_occurrence is None else self.co_occurrence.chosen._asdict()

    def weigh_near_items(self, measure: Callable[[], FloatArray]) -> Mapping[str, float]:
        """Choose how much co-occurrence adds; implements `Recommender.weigh_near_items`."""
        return {} if self.co_occurrence is None else self.co_occurrence.calibrate(measure)._asdict()

    def adopt_near_items(self, chosen: Mapping[str, float]) -> None:
        """Let co-occurrence add as much; implements `Recommender.adopt_near_items`."""
        if self.co_occurrence is not None:
            self.co_occurrence.choose(Nearness(**chosen))

    def additions(self, histories: Histories, newest: Histories) -> Additions | None:
        """What repetition and co-occurrence add to some scores of the histories; None for nothing.

        Args:
            histories: as long as the model remembers them.
            newest: what it reads of them.
        """
        parts: list[Additions] = [
            part(newest.items, newest.offsets)
            for part in (self.repeats, self.co_occurrence)
            if part is not None
        ]
        if self._calibrated is not None:
            parts.append(self._calibrated.of_whole(histories.items, histories.offsets))
        return reduce(Additions.together, parts) if parts else None

    def scores(self, histories: Histories) -> Tensor:
        """Score every item for every history; implements `Recommender.scores`."""
        return self.items().scores(*self._asked(histories))

    def ranks(self, histories: Histories, items: Tensor, excluded: Packed | None, rows: int) -> Tensor:
        """Rank one item a history through the item table; overrides `Recommender.ranks`."""
        if not len(histories) and not self.supports_sharding:
            return torch.empty(0, dtype=torch.int64)
        queries, additions = self._asked(histories)
        return self.items().ranks(queries, items, excluded, rows, additions)

    def _asked(self, histories: Histories) -> tuple[Tensor, Additions | None]:
        """Query vectors of histories, and what is added to their scores."""
        newest = histories if self._calibrated is None else histories.newest(self.reads)
        return self.query_vectors(newest), self.additions(histories, newest)
