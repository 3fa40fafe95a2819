"""Recommendation losses as objects: each declares which negatives have to be drawn, and sums the loss over targets.

A loss knows neither the encoder nor how the catalogue is stored: it asks a `Catalogue` for scores, and a batch
(`Sampled`) holds the drawn items. The fields of a loss are its settings. `LOSSES` maps the names that configurations
use to the losses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from mclrec.losses.sampled import (
    binary_cross_entropy,
    bpr_max,
    generalised_cross_entropy,
    sampled_softmax,
    top1_max,
)

__all__ = [
    "LOSSES",
    "Catalogue",
    "PerTarget",
    "RecommendationLoss",
    "Sampled",
    "SharedByBatch",
    "losses_with",
    "make_loss",
]


class Catalogue(Protocol):
    """The part of the item table that losses use; `mclrec.models.item_table.ItemTable` implements it."""

    num_items: int

    def cross_entropy(self, queries: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows of the softmax cross-entropy over the whole catalogue."""

    def pair_scores(self, queries: Tensor, ids: Tensor) -> Tensor:
        """Score of each query (..., d) with the item of its own row, ids (...): shape (...)."""

    def scores_of(self, queries: Tensor, ids: Tensor) -> Tensor:
        """(T, N) scores of the same items ``ids`` (N,) for every query."""

    def mean_scores(self, queries: Tensor) -> Tensor:
        """(T,) mean score of each query over all items."""


class Sampled(Protocol):
    """The targets of a batch and the items drawn for them; `mclrec.data.batches.Batch` implements it."""

    @property
    def targets(self) -> Tensor:
        """(T,) ids."""

    @property
    def negatives(self) -> Tensor | None:
        """(T,) or (T, k) ids drawn for each target."""

    @property
    def shared(self) -> Tensor | None:
        """(N,) ids drawn once for all targets."""

    @property
    def shared_log_counts(self) -> Tensor | None:
        """(N,) logarithm of the expected count of each shared item among those drawn."""


@dataclass(frozen=True, slots=True)
class PerTarget:
    """Negatives drawn for each target: ``count`` items that the user does not have, drawn uniformly."""

    count: int


@dataclass(frozen=True, slots=True)
class SharedByBatch:
    """Negatives drawn once per batch: ``count`` items, in proportion to popularity raised to ``power``."""

    count: int
    power: float


@dataclass(frozen=True, slots=True)
class RecommendationLoss(ABC):
    """Base of the losses, which compare the hidden state before each target with the catalogue."""

    @property
    def draws(self) -> PerTarget | SharedByBatch | None:
        """Which negatives have to be drawn; None for a loss over the whole catalogue."""
        return None

    @abstractmethod
    def __call__(self, catalogue: Catalogue, queries: Tensor, batch: Sampled) -> Tensor:
        """Scalar sum over the targets; the caller divides by their number.

        Args:
            catalogue: scores the items.
            queries: (T, d) one for each target.
            batch: the targets and the drawn items.
        """


@dataclass(frozen=True, slots=True)
class Softmax(RecommendationLoss):
    """Cross-entropy over the whole catalogue (paper, eq. 3, with y-hat read as logits).

    Attributes:
        label_smoothing: share of a target's probability that is spread evenly over all items, itself included (Szegedy
            et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, section 7).
    """

    label_smoothing: float

    def __call__(self, catalogue: Catalogue, queries: Tensor, batch: Sampled) -> Tensor:
        """Sum over targets; implements `RecommendationLoss`."""
        loss, share = catalogue.cross_entropy(queries, batch.targets), self.label_smoothing
        if not share:
            return loss
        # log sum exp y - (1 - share) y_target - share mean y
        above = catalogue.pair_scores(queries, batch.targets) - catalogue.mean_scores(queries)
        return loss + share * above.sum()


@dataclass(frozen=True, slots=True)
class BinaryCrossEntropy(RecommendationLoss):
    """SASRec's loss: binary cross-entropy of each target against one drawn item (Kang and McAuley, 2018)."""

    @property
    def draws(self) -> PerTarget:
        """One item for each target."""
        return PerTarget(1)

    def __call__(self, catalogue: Catalogue, queries: Tensor, batch: Sampled) -> Tensor:
        """Sum over targets; implements `RecommendationLoss`."""
        assert batch.negatives is not None
        positive = catalogue.pair_scores(queries, batch.targets)
        return binary_cross_entropy(positive, catalogue.pair_scores(queries, batch.negatives))


@dataclass(frozen=True, slots=True)
class GeneralisedBinaryCrossEntropy(RecommendationLoss):
    """gSASRec's loss (Petrov and Macdonald, 2023): several drawn items, and a target's probability raised to a power.

    Attributes:
        negatives: items drawn for each target.
        calibration: t, how far the power compensates for drawing only a few negatives.
    """

    negatives: int
    calibration: float

    @property
    def draws(self) -> PerTarget:
        """Several items for each target."""
        return PerTarget(self.negatives)

    def __call__(self, catalogue: Catalogue, queries: Tensor, batch: Sampled) -> Tensor:
        """Sum over targets; implements `RecommendationLoss`."""
        assert batch.negatives is not None
        positive = catalogue.pair_scores(queries, batch.targets)
        drawn = batch.negatives.view(-1, self.negatives)  # (T, k)
        negative = catalogue.pair_scores(queries.unsqueeze(1), drawn)
        rate = min(self.negatives / max(catalogue.num_items - 1, 1), 1.0)
        return generalised_cross_entropy(positive, negative, rate, self.calibration)


@dataclass(frozen=True, slots=True)
class _AgainstSharedItems(RecommendationLoss):
    """Base of the losses that compare a target with items drawn once for the whole batch.

    Attributes:
        samples: items drawn per batch.
        sample_power: exponent of the popularity in proportion to which they are drawn; 0 is uniform.
    """

    samples: int
    sample_power: float

    @property
    def draws(self) -> SharedByBatch:
        """Items drawn once per batch."""
        return SharedByBatch(self.samples, self.sample_power)

    def _scores(self, catalogue: Catalogue, queries: Tensor, batch: Sampled) -> tuple[Tensor, Tensor]:
        """(T,) scores of the targets and (T, N) scores of the drawn items, -inf where a drawn item is the target."""
        assert batch.shared is not None
        positive = catalogue.pair_scores(queries, batch.targets)
        negative = catalogue.scores_of(queries, batch.shared)
        negative = negative.masked_fill(batch.targets.unsqueeze(1) == batch.shared, -torch.inf)
        return positive.to(negative.dtype), negative


@dataclass(frozen=True, slots=True)
class SampledSoftmax(_AgainstSharedItems):
    """Cross-entropy over drawn items, corrected for how often each is drawn (Bengio and Senecal, 2008)."""

    def __call__(self, catalogue: Catalogue, queries: Tensor, batch: Sampled) -> Tensor:
        """Sum over targets; implements `RecommendationLoss`."""
        assert batch.shared_log_counts is not None
        positive, negative = self._scores(catalogue, queries, batch)
        return sampled_softmax(positive, negative, batch.shared_log_counts.to(negative))


@dataclass(frozen=True, slots=True)
class BPRMax(_AgainstSharedItems):
    """GRU4Rec's BPR-max (Hidasi and Karatzoglou, 2018).

    Attributes:
        penalty: weight of the penalty on the drawn items' scores.
    """

    penalty: float

    def __call__(self, catalogue: Catalogue, queries: Tensor, batch: Sampled) -> Tensor:
        """Sum over targets; implements `RecommendationLoss`."""
        return bpr_max(*self._scores(catalogue, queries, batch), self.penalty)


@dataclass(frozen=True, slots=True)
class TOP1Max(_AgainstSharedItems):
    """GRU4Rec's TOP1-max (Hidasi and Karatzoglou, 2018)."""

    def __call__(self, catalogue: Catalogue, queries: Tensor, batch: Sampled) -> Tensor:
        """Sum over targets; implements `RecommendationLoss`."""
        return top1_max(*self._scores(catalogue, queries, batch))


LOSSES: Mapping[str, type[RecommendationLoss]] = {
    "softmax": Softmax,
    "sampled": SampledSoftmax,
    "gbce": GeneralisedBinaryCrossEntropy,
    "bce": BinaryCrossEntropy,
    "bpr-max": BPRMax,
    "top1-max": TOP1Max,
}
"""All losses, by the value of the setting ``loss``."""


def make_loss(name: str, settings: Mapping[str, Any]) -> RecommendationLoss:
    """Make the named loss from the entries of ``settings`` that are its fields."""
    kind = LOSSES[name]
    return kind(**{field.name: settings[field.name] for field in fields(kind)})


def losses_with(setting: str) -> tuple[str, ...]:
    """Names of the losses that have the given setting."""
    return tuple(name for name, kind in LOSSES.items() if setting in {field.name for field in fields(kind)})
