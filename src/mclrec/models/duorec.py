"""DuoRec: Qiu et al., Contrastive Learning for Representation Degeneration Problem in Sequential Recommendation, WSDM
2022.

SASRec on prefixes with full softmax, and two contrasts whose positives need no augmentation of the data:

- unsupervised: the same history encoded twice, each time with fresh dropout;
- supervised: another history that is followed by the same target item.

L = L_rec + lambda L_un + lambda_supervised L_su. The authors' scripts run ``contrast = "crossed"`` instead, one term
between the second pass of the history and the other history; it is the default because the published numbers come
from it.

Departs from the paper in: the history with the same target is any other training prefix with that target, the same
user's included; a history that has none is its own positive, with fresh dropout, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from mclrec.data.batches import Batch, Histories
from mclrec.data.examples import Examples
from mclrec.data.packed import IntArray
from mclrec.data.positives import SameTarget
from mclrec.losses.contrastive import ViewPairs, info_nce_of
from mclrec.losses.regularizer import regularizer_official
from mclrec.models.phases import Collate, Losses, Phase, StepContext, Term, Update
from mclrec.models.sequential import AnyEncoderConfig, SequentialRecommender

__all__ = ["DuoRec", "DuoRecConfig"]


class DuoRecConfig(AnyEncoderConfig):
    """Which contrasts, and their weights."""

    contrast: Literal["crossed", "both", "unsupervised", "supervised"] = Field(
        "crossed", description="between which versions of a history"
    )
    lambda_: float = Field(0.1, ge=0, alias="lambda", description="weight of the unsupervised contrast")
    lambda_supervised: float = Field(0.1, ge=0, description="weight of the supervised or crossed contrast")
    gamma: float = Field(0.0, ge=0, description="weight of MCLRec's R on the same pairs; the paper has none")
    contrast_temperature: float = Field(1.0, gt=0, description="tau, what inner products are divided by")


class DuoRec(SequentialRecommender):
    """See the module."""

    config_type = DuoRecConfig
    config: DuoRecConfig

    def phases(self) -> Sequence[Phase]:
        """One phase, one update a batch."""
        usual = self.phase([Update(self.loss, "all")])
        return (replace(usual, collate=_WithTwins(usual.collate, SameTarget(self.max_length))),)

    def loss(self, batch: Batch, context: StepContext) -> Losses:
        """L_rec and the contrasts."""
        states, views = self.states_with_views(batch)
        again, twin = (context.gather(view) for view in views)
        losses: Losses = {"rec": self.recommendation_loss(states, batch)}
        config = self.config
        if config.contrast == "crossed":
            return losses | self._contrast("cl", again, twin, config.lambda_supervised)
        own = context.gather(self.last_states(states, batch.histories))
        if config.contrast in ("both", "unsupervised"):
            losses |= self._contrast("unsupervised", own, again, config.lambda_)
        if config.contrast in ("both", "supervised"):
            losses |= self._contrast("supervised", own, twin, config.lambda_supervised)
        return losses

    def _contrast(self, name: str, one: Tensor, other: Tensor, weight: float) -> Losses:
        pairs = ViewPairs.of((one, other), ((0, 1),), self.config.contrast_temperature)
        losses: Losses = {name: Term(info_nce_of(pairs)[0], weight=weight, whole=True)}
        if self.config.gamma:
            losses[f"reg of {name}"] = Term(
                regularizer_official(pairs)[0], weight=self.config.gamma, whole=True
            )
        return losses


@dataclass(frozen=True)
class _WithTwins:
    """Collates batches whose views are the histories once more, and other histories with the same targets."""

    collate: Collate
    twins: SameTarget

    def __call__(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Batch:
        """Collate one batch."""
        batch = self.collate(examples, rows, rng)
        return replace(batch, views=(batch.histories, Histories.of(self.twins(examples, rows, rng))))
