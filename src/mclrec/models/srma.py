"""SRMA: Liu et al., Improving Contrastive Learning with Model Augmentation, 2022.

SASRec with a contrast between two views of each history, whose encoders differ too:

- neuron masking: each pass has fresh dropout on hidden units, at the encoder's own rate;
- layer dropping: further layers follow the encoder, and each pass skips some of them at random;
- encoder complementing: a second encoder, trained first and then frozen, adds its states to those of the views.

L = L_rec + lambda L_cl; all states of a view, side by side, are contrasted, as in CoSeRec.

Follows the authors' code in: two further layers of which one is skipped, each with linear map, GELU, dropout, residual
and LayerNorm; the recommendation loss uses them too; attention dropout of .1; a masked item becomes the padding id,
which nothing attends to. With their published command, both views pass through the same layers, and no second encoder
takes part: that is the default, because the published numbers come from it. With separate layers for each view and the
states of a second encoder, the model did not come near these numbers on Beauty (``distinct_layers``, ``complement``).
Departs from the code in: the second encoder's states are added with a weight, as in the paper, whereas the code
optionally contrasts each view with the second encoder's states of the history itself; the second encoder is trained by
the recommendation loss alone, for a fixed number of epochs; the two views are made by different operators; rows leave
out the states of padding, unless ``contrast = "padded"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from mclrec.augment.views import TwoViews
from mclrec.data.batches import Batch, Histories
from mclrec.losses.contrastive import info_nce_of
from mclrec.models.all_states import (
    AllOrPadded,
    AllStatesConfig,
    AllStatesRecommender,
    contrast_of_all_states,
)
from mclrec.models.contrast_weight import ContrastByLater, contrast_share
from mclrec.models.model_config import NONZERO, OnlyWith
from mclrec.models.phases import Losses, Phase, StepContext, Term, Update
from mclrec.nn.dropout import Dropout, Seeded

__all__ = ["SRMA", "DroppedLayers", "SRMAConfig"]

_Contrasted = OnlyWith(lambda_=NONZERO)


class SRMAConfig(AllStatesConfig):
    """Configuration of SRMA: augmentation of the model, and of the data."""

    attention_dropout: float = Field(0.1, ge=0, lt=1, description="dropout rate of attention weights")
    lambda_: float = Field(0.1, ge=0, alias="lambda", description="weight of the contrast")
    contrast_by: Annotated[ContrastByLater, _Contrasted] = "history"
    contrast: Annotated[AllOrPadded, _Contrasted] = "all"
    further_layers: int = Field(2, ge=0, le=100, description="layers after the encoder")
    dropped_layers: Annotated[int, OnlyWith(further_layers=NONZERO)] = Field(
        1, ge=0, description="how many of them each training pass skips"
    )
    distinct_layers: Annotated[bool, _Contrasted, OnlyWith(dropped_layers=NONZERO)] = Field(
        False, description="whether the two views skip layers independently"
    )
    complement: Annotated[float, _Contrasted] = Field(
        0.0, ge=0, description="weight of the second encoder's states; 0 for none"
    )
    complement_epochs: Annotated[int, OnlyWith(complement=NONZERO)] = Field(
        40, ge=1, description="epochs in which the second encoder is trained"
    )
    crop_ratio: Annotated[float, _Contrasted] = Field(
        0.2, gt=0, le=1, description="share of items that crop keeps"
    )
    mask_ratio: Annotated[float, _Contrasted] = Field(
        0.7, ge=0, lt=1, description="share of items that mask hides"
    )
    reorder_ratio: Annotated[float, _Contrasted] = Field(
        0.2, ge=0, le=1, description="share of items that reorder shuffles"
    )

    @model_validator(mode="after")
    def _some_layers_are_trained(self) -> Self:
        if self.further_layers and self.dropped_layers >= self.further_layers:
            raise ValueError(
                f"dropped_layers = {self.dropped_layers}: at least one of the {self.further_layers} further layers "
                "has to remain, or none is ever trained, but lists go through all of them"
            )
        return self


class DroppedLayers(Seeded):
    """Stochastic depth: each training pass skips ``dropped`` of the layers, drawn for the whole batch.

    Args:
        layers: number of layers.
        dropped: number of skipped layers.
        hidden_size: d.
        dropout: rate inside each layer.
    """

    for_batch = True

    def __init__(self, layers: int, dropped: int, *, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dropped = min(dropped, layers)  # there may be no layers
        self.layers = nn.ModuleList(_Layer(hidden_size, dropout) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        kept = np.arange(len(self.layers))
        if self.training and self.dropped:
            rng = self.generator or np.random.default_rng()
            kept = np.sort(rng.permutation(len(kept))[self.dropped :])
        for number in kept.tolist():
            x = self.layers[number](x)
        return x


class _Layer(nn.Module):
    """Linear, GELU, dropout, residual, LayerNorm."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-12)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x + self.dropout(F.gelu(self.linear(x))))
        return out


class SRMA(AllStatesRecommender):
    """A transformer with further layers, and a contrast between views of an augmented model."""

    config_type = SRMAConfig
    config: SRMAConfig
    item_tensors = (*AllStatesRecommender.item_tensors, "complement.items.weight")

    def __init__(self, config: SRMAConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.further = DroppedLayers(
            config.further_layers,
            config.dropped_layers,
            hidden_size=config.hidden_size,
            dropout=config.dropout,
        )
        self.complement = self.make_encoder() if config.complement else None

    def phases(self) -> Sequence[Phase]:
        """Train the second encoder, if there is one, then the model with its help."""
        config = self.config
        views = TwoViews.of_ratios(config.crop_ratio, config.mask_ratio, config.reorder_ratio)
        training = self.phase([Update(self.loss, "main")], views)
        if self.complement is None:
            return (training,)
        first = replace(
            self.phase([Update(self.complement_loss, "complement")]),
            name="complement",
            epochs=config.complement_epochs,
            validate=False,
        )
        return (first, training)

    def parameter_groups(self) -> Mapping[str, list[nn.Parameter]]:
        """The second encoder, if there is one, and everything else."""
        main = [*self.main_parameters(), *self.further.parameters()]
        if self.complement is None:
            return {"main": main}
        return {"complement": list(self.complement.parameters()), "main": main}

    def complement_loss(self, batch: Batch, context: StepContext) -> Losses:  # noqa: ARG002
        """Recommendation loss of the second encoder."""
        assert self.complement is not None
        states = self.complement.encode(batch.histories.items, batch.histories.offsets, self.outputs())
        table = self.table_of(self.complement.items.weight)
        return self.recommendation_losses(states, batch, table)

    def loss(self, batch: Batch, context: StepContext) -> Losses:
        """L_rec and the contrast of the two views."""
        histories = batch.histories
        states = self.further(self.encoder.encode(histories.items, histories.offsets, self.outputs()))
        views = self.contrasted(batch.views)
        pairs = contrast_of_all_states(self._views(views), views, self.max_length, context)
        losses = self.recommendation_losses(states, batch)
        weight = contrast_share(self.config.contrast_by, batch) * self.config.lambda_
        return losses | {"cl": Term(info_nce_of(pairs)[0], weight=weight, whole=True)}

    def query_vectors(self, histories: Histories) -> Tensor:
        """(B, d) last hidden states after all layers."""
        return self.as_queries(self.further(self.encoder.encode(histories.items, histories.offsets)))

    def padded_query_vectors(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Query vectors of padded histories, for export."""
        return self.as_queries(self.further(self.encoder(items, lengths)))

    def _views(self, views: Sequence[Histories]) -> list[Tensor]:
        """(T, d) states of each view, computed by the augmented model."""
        states = self.all_states(views)
        if self.config.distinct_layers and self.further.dropped:
            augmented = [self.further(of_view) for of_view in states]
        else:
            augmented = list(self.further(torch.cat(states)).split([len(of_view) for of_view in states]))
        return [self._complemented(of_view, view) for of_view, view in zip(augmented, views, strict=True)]

    def _complemented(self, states: Tensor, view: Histories) -> Tensor:
        """States plus the weighted states of the second encoder."""
        if self.complement is None:
            return states
        with torch.no_grad():
            (others,) = self.all_states([view], self.complement.eval())
        return states + self.config.complement * others
