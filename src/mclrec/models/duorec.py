"""DuoRec: Qiu et al., Contrastive Learning for Representation Degeneration Problem in Sequential Recommendation, WSDM
2022.

SASRec on prefixes with full softmax, and two contrasts whose positives need no augmentation of the data:

- unsupervised: the same history encoded twice, each time with fresh dropout;
- supervised: another history that is followed by the same target item.

L = L_rec + lambda L_un + lambda_supervised L_su. The authors' scripts run ``contrast = "crossed"`` instead, one term
between the second pass of the history and the other history; it is the default because the published numbers come
from it.

Departs from the paper in: the history with the same target is any other training prefix with that target, including
the same user's; a history without one is its own positive, with fresh dropout, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from mclrec.data.batches import Batch, Histories
from mclrec.data.examples import Examples, prefixes
from mclrec.data.packed import IntArray, Packed
from mclrec.data.sequences import SequenceData
from mclrec.losses.contrastive import ViewPairs, info_nce_of, regularizer_official
from mclrec.models.contrast_weight import ContrastByLater, contrast_share
from mclrec.models.model_config import NONZERO, OnlyWith
from mclrec.models.phases import Collate, Losses, Phase, StepContext, Term, Update
from mclrec.models.sequential import AnyEncoderConfig, SequentialRecommender

__all__ = ["DuoRec", "DuoRecConfig", "SameTarget"]

_Weighted = OnlyWith(lambda_=NONZERO, lambda_supervised=NONZERO, gamma=NONZERO)


class DuoRecConfig(AnyEncoderConfig):
    """Configuration of DuoRec: which contrasts, and their weights."""

    contrast: Annotated[Literal["crossed", "both", "unsupervised", "supervised"], _Weighted] = Field(
        "crossed", description="between which versions of a history"
    )
    lambda_: Annotated[float, OnlyWith(contrast=("both", "unsupervised"))] = Field(
        0.1, ge=0, alias="lambda", description="weight of the unsupervised contrast"
    )
    lambda_supervised: Annotated[float, OnlyWith(contrast=("crossed", "both", "supervised"))] = Field(
        0.1, ge=0, description="weight of the supervised or crossed contrast"
    )
    gamma: float = Field(0.0, ge=0, description="weight of MCLRec's R on the same pairs; the paper has none")
    contrast_by: Annotated[ContrastByLater, _Weighted] = "history"
    contrast_temperature: Annotated[float, _Weighted] = Field(
        1.0, gt=0, description="tau, inner products of the contrast are divided by it"
    )


class SameTarget:
    """Draws, for each example of a batch, another training prefix that is followed by the example's last target.

    Any user's prefix may be drawn, the same user's too, but not the example's own. If no other training prefix has the
    same target, the example's own prefix is returned.

    Args:
        max_length: n, the longest history.
    """

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length
        self._data: SequenceData | None = None

    def __call__(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Packed:
        """Draw B histories."""
        if self._data is not examples.data:
            self._index(examples.data)
        return self._prefixes.inputs(self.draw(examples.at(rows).ends, rng))

    def draw(self, ends: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw (B,) rows of the index of all prefixes, for targets at places ``ends`` of the training data."""
        own, targets = self._row_of[ends], self._prefixes.data.items[ends]
        first, others = self._bounds[targets], self._bounds[targets + 1] - self._bounds[targets] - 1
        drawn = rng.integers(0, np.maximum(others, 1))
        drawn += drawn >= self._number[own]  # skip the own prefix
        return np.where(others > 0, self._by_target[first + np.minimum(drawn, others)], own)

    def _index(self, data: SequenceData) -> None:
        self._prefixes = prefixes(data, self._max_length)
        ends = self._prefixes.at(np.arange(len(self._prefixes))).ends
        targets = data.items[ends]
        self._by_target = np.argsort(targets, kind="stable")
        self._bounds = np.concatenate([[0], np.cumsum(np.bincount(targets, minlength=data.num_items + 1))])
        self._number = np.empty_like(self._by_target)  # of each prefix among those with the same target
        self._number[self._by_target] = np.arange(len(targets)) - self._bounds[targets[self._by_target]]
        self._row_of = np.full(len(data.items), -1)
        self._row_of[ends] = np.arange(len(targets))
        self._data = data


class DuoRec(SequentialRecommender):
    """A sequence encoder with contrasts between passes, and between histories with the same target."""

    config_type = DuoRecConfig
    config: DuoRecConfig

    def phases(self) -> Sequence[Phase]:
        """One phase with one update per batch."""
        usual = self.phase([Update(self.loss, "all")])
        return (replace(usual, collate=_WithTwins(usual.collate, SameTarget(self.max_length))),)

    def loss(self, batch: Batch, context: StepContext) -> Losses:
        """L_rec and the contrasts."""
        states, views = self.states_with_views(batch)
        again, twin = (context.gather(view) for view in views)
        losses = self.recommendation_losses(states, batch)
        config, share = self.config, contrast_share(self.config.contrast_by, batch)
        unsupervised, supervised, gamma = (
            share * weight for weight in (config.lambda_, config.lambda_supervised, config.gamma)
        )
        if config.contrast == "crossed":
            return losses | self._contrast("cl", again, twin, supervised, gamma)
        own = context.gather(self.last_states(states, batch.histories))
        if config.contrast in ("both", "unsupervised"):
            losses |= self._contrast("unsupervised", own, again, unsupervised, gamma)
        if config.contrast in ("both", "supervised"):
            losses |= self._contrast("supervised", own, twin, supervised, gamma)
        return losses

    def _contrast(self, name: str, one: Tensor, other: Tensor, weight: float, gamma: float) -> Losses:
        pairs = ViewPairs.of((one, other), ((0, 1),), self.config.contrast_temperature)
        losses: Losses = {name: Term(info_nce_of(pairs)[0], weight=weight, whole=True)}
        if gamma:
            losses[f"reg of {name}"] = Term(regularizer_official(pairs)[0], weight=gamma, whole=True)
        return losses


@dataclass(frozen=True)
class _WithTwins:
    """Collates batches with two views: the same histories again, and other histories with the same targets."""

    collate: Collate
    twins: SameTarget

    def __call__(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Batch:
        """Collate one batch."""
        batch = self.collate(examples, rows, rng)
        return replace(batch, views=(batch.histories, Histories.of(self.twins(examples, rows, rng))))
