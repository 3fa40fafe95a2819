"""CL4SRec: Xie et al., Contrastive Learning for Sequential Recommendation, ICDE 2022.

SASRec with a contrast between two random views of each history: the two are a positive pair, and the views of all
other histories in the batch are their negatives. L = L_main + lambda L_cl.

A view is a crop, a mask or a reorder; the two views of a history are made by different operators. Inner products are
contrasted at temperature 1, without a projection head.

The contrast uses the last state of a view, as in the paper, or with ``contrast = "all"`` all its states side by side,
as in the code of CoSeRec and ICLRec, from which the published numbers of the paper's regime come;
``contrast = "padded"`` includes the states of padding, as that code does.

A masked item gets an id of its own, as in the paper; the code of some successors reuses the padding id.

Departs from the paper in: the encoder is the one of `mclrec.models.sasrec`, with its departures. A public version masks
in place and so damages its own training data; here the views are copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from mclrec.augment.views import TwoViews
from mclrec.data.batches import Batch
from mclrec.losses.contrastive import ViewPairs, info_nce_of, regularizer_official
from mclrec.models.all_states import AllStatesConfig, AllStatesRecommender, contrast_of_all_states
from mclrec.models.contrast_weight import ContrastByLater, contrast_share
from mclrec.models.model_config import NONZERO, OnlyWith
from mclrec.models.phases import Losses, Phase, StepContext, Term, Update
from mclrec.models.sequential import AnyEncoderConfig

__all__ = ["CL4SRec", "CL4SRecConfig"]


_Contrasted = OnlyWith(lambda_=NONZERO)


class CL4SRecConfig(AllStatesConfig, AnyEncoderConfig):
    """Configuration of CL4SRec: weight of the contrast, and the views."""

    lambda_: float = Field(0.1, ge=0, alias="lambda", description="weight of L_cl, between the two views")
    gamma: Annotated[float, _Contrasted] = Field(
        0.0, ge=0, description="weight of MCLRec's R on the same pairs; the paper has none"
    )
    contrast_temperature: Annotated[float, _Contrasted] = Field(
        1.0, gt=0, description="inner products of the contrast are divided by it"
    )
    contrast_by: Annotated[ContrastByLater, _Contrasted] = "history"
    contrast: Annotated[Literal["last", "all", "padded"], _Contrasted] = Field(
        "last", description="which states of a view are contrasted: the last, all, or also those of padding"
    )
    crop_ratio: Annotated[float, _Contrasted] = Field(
        0.6, gt=0, le=1, description="eta, share of items that crop keeps"
    )
    mask_ratio: Annotated[float, _Contrasted] = Field(
        0.3, ge=0, lt=1, description="gamma, share of items that mask hides"
    )
    reorder_ratio: Annotated[float, _Contrasted] = Field(
        0.6, ge=0, le=1, description="beta, share of items that reorder shuffles"
    )


class CL4SRec(AllStatesRecommender):
    """A sequence encoder with a contrast between two random views of each history."""

    config_type = CL4SRecConfig
    config: CL4SRecConfig

    def phases(self) -> Sequence[Phase]:
        """One phase with one update per batch."""
        config = self.config
        ratios = (config.crop_ratio, config.mask_ratio, config.reorder_ratio)
        views = TwoViews.of_ratios(*ratios, self.num_items + 1) if config.lambda_ else None
        return (self.phase([Update(self.loss, "all")], views),)

    def loss(self, batch: Batch, context: StepContext) -> Losses:
        """L_main + lambda L_cl."""
        states, pairs = self._states_and_pairs(batch, context)
        losses = self.recommendation_losses(states, batch)
        if pairs is not None:
            share = contrast_share(self.config.contrast_by, batch)
            losses["cl"] = Term(info_nce_of(pairs)[0], weight=share * self.config.lambda_, whole=True)
            if self.config.gamma:
                losses["reg"] = Term(
                    regularizer_official(pairs)[0], weight=share * self.config.gamma, whole=True
                )
        return losses

    def _states_and_pairs(self, batch: Batch, context: StepContext) -> tuple[Tensor, ViewPairs | None]:
        """The states before targets, and the statistics of the pair of views; None if there is no contrast."""
        temperature = self.config.contrast_temperature
        if self.config.contrast != "last" and batch.views:
            contrasted = self.contrasted(batch.views)
            pairs = contrast_of_all_states(
                self.all_states(contrasted), contrasted, self.max_length, context, temperature
            )
            return self.target_states(batch), pairs
        states, views = self.states_with_views(batch)
        if not views:
            return states, None
        return states, ViewPairs.of([context.gather(view) for view in views], ((0, 1),), temperature)
