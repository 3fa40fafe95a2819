"""LMA4Rec: Hao et al., Learnable Model Augmentation Self-Supervised Learning for Sequential Recommendation, 2022.

CoSeRec's views of the data, combined with views of the model: Bernoulli dropout with a separate rate for each unit,
learned from the contrast through the ARM gradient (Yin and Zhou, ICLR 2019; Boluki et al., AISTATS 2020), which
compares the losses under a mask and under its antithetic mask.

No code of the authors is public, and the paper leaves open where the dropout is applied. Our choices:

- one mask of d bits multiplies all states of a view, after the encoder's last layer; each view draws its own mask;
- the recommendation loss and inference use no such mask;
- each batch makes two updates: encoder, with drawn masks, then the logits of the masks, against the updated encoder;
- masks are not scaled up for the units that they drop; initially, units are kept with probability .9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mclrec.data.batches import Batch, Histories, to_device
from mclrec.losses.contrastive import info_nce_of
from mclrec.models.all_states import contrast_of_all_states
from mclrec.models.model_config import NONZERO, OnlyWith
from mclrec.models.phases import Losses, Phase, StepContext, Term, Update
from mclrec.models.similarity_augmented import SimilarityAugmentedConfig, SimilarityAugmentedRecommender
from mclrec.nn.dropout import Seeded

__all__ = ["LMA4Rec", "LMA4RecConfig", "LearnableBernoulli", "arm_surrogate"]


class LMA4RecConfig(SimilarityAugmentedConfig):
    """Configuration of LMA4Rec: CoSeRec's settings and the learnable dropout."""

    keep: Annotated[float, OnlyWith(lambda_=NONZERO)] = Field(
        0.9, gt=0, lt=1, description="initial probability that a unit is kept"
    )
    rate_learning_rate: Annotated[float, OnlyWith(lambda_=NONZERO)] = Field(
        1e-3, gt=0, description="learning rate of the masks' logits"
    )


class LearnableBernoulli(Seeded):
    """Dropout masks with one bit per unit, each drawn with a learnable probability of its own.

    Args:
        hidden_size: d.
        keep: probability with which each unit is kept at first.
    """

    for_batch = True

    def __init__(self, hidden_size: int, keep: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full((hidden_size,), keep).logit())

    def uniforms(self, count: int) -> Tensor:
        """Draw (count, d) numbers between 0 and 1, from which masks are made."""
        rng = self.generator or np.random.default_rng()
        drawn = torch.from_numpy(rng.random((count, len(self.logits)))).to(self.logits.dtype)
        return to_device(drawn, self.logits.device)

    def masks(self, uniforms: Tensor) -> Tensor:
        """(count, d) of 0 and 1: 1 where the number is below the unit's probability. No gradient flows back."""
        return (uniforms < self.logits.detach().sigmoid()).to(uniforms)

    def opposite_masks(self, uniforms: Tensor) -> Tensor:
        """(count, d) the antithetic masks: those of 1 - uniforms, equal in distribution."""
        return (uniforms > (-self.logits.detach()).sigmoid()).to(uniforms)


def arm_surrogate(of_masks: Tensor, of_opposite: Tensor, uniforms: Tensor, logits: Tensor) -> Tensor:
    """ARM estimator: the mean of two losses, whose gradient is an unbiased estimate of that of the expected loss.

    The gradient for logit k is ``sum over masks of (f(opposite) - f(masks)) (u_k - 1 / 2)``.

    Args:
        of_masks: scalar loss under `LearnableBernoulli.masks` of ``uniforms``.
        of_opposite: scalar loss under the opposite ones.
        uniforms: (count, d).
        logits: (d,).
    """
    gradients = ((of_opposite - of_masks) * (uniforms - 0.5)).sum(0).detach()
    value = (of_masks + of_opposite).detach() / 2
    return value + (gradients * (logits - logits.detach())).sum()


class LMA4Rec(SimilarityAugmentedRecommender):
    """CoSeRec whose views also pass through a dropout with learnable rates."""

    config_type = LMA4RecConfig
    config: LMA4RecConfig

    def __init__(self, config: LMA4RecConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.bernoulli = LearnableBernoulli(config.hidden_size, config.keep)

    def phases(self) -> Sequence[Phase]:
        """One phase with two updates per batch."""
        updates = (Update(self.encoder_loss, "encoder"), Update(self.mask_loss, "masks"))
        return (self.phase(updates, self.views()),)

    def parameter_groups(self) -> Mapping[str, list[nn.Parameter]]:
        """The encoder, and the logits of the masks."""
        return {"encoder": self.main_parameters(), "masks": [self.bernoulli.logits]}

    def learning_rates(self) -> Mapping[str, float]:
        """A separate learning rate for the logits."""
        return {"masks": self.config.rate_learning_rate}

    def encoder_loss(self, batch: Batch, context: StepContext) -> Losses:
        """L_rec, and the contrast under drawn masks."""
        losses = self.recommendation_losses(self.target_states(batch), batch)
        masks, views = self.bernoulli.masks(self.bernoulli.uniforms(2)), self.contrasted(batch.views)
        contrast = self._contrast(self.all_states(views), views, masks, context)
        return losses | {"cl": Term(contrast, weight=self.contrast_weight(batch), whole=True)}

    def mask_loss(self, batch: Batch, context: StepContext) -> Losses:
        """The contrast under two masks and under their opposites; the encoder only runs forward here."""
        uniforms, views = self.bernoulli.uniforms(2), self.contrasted(batch.views)
        states = self.all_states(views)
        both = (self.bernoulli.masks(uniforms), self.bernoulli.opposite_masks(uniforms))
        one, other = (self._contrast(states, views, masks, context) for masks in both)
        return {"cl": Term(arm_surrogate(one, other, uniforms, self.bernoulli.logits), whole=True)}

    def _contrast(
        self, states: Sequence[Tensor], views: Sequence[Histories], masks: Tensor, context: StepContext
    ) -> Tensor:
        masked = [of_view * mask for of_view, mask in zip(states, masks, strict=True)]
        return info_nce_of(contrast_of_all_states(masked, views, self.max_length, context))[0]
