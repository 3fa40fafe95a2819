"""MCLRec: Qin et al., Meta-optimized Contrastive Learning for Sequential Recommendation, SIGIR 2023.

Two random views of a history are encoded to h1 and h2 (eq. 4); two learnable augmenters map these to z1 and z2 (eq. 5).
The encoder minimises L_0 = L_rec + lambda L_cl1 + beta L_cl2 + gamma R (eq. 14); the augmenters minimise
L_1 = L_cl2 + gamma R (eq. 15) against the current encoder (algorithm 1).

Where the official code departs from the paper, follows the code, because it gives the published numbers:

- three updates per batch (encoder, augmenters, encoder again) with the same two views; algorithm 1 alternates two;
- R is computed row by row over the pairs (h1, z2), (h2, z1), (z1, z2); the paper has one pair (z1, z2) and global
  extremes (``regularizer = "paper"``);
- gamma is .1 beta in the encoder's update and .1, without beta, in the augmenters';
- a masked position gets the padding id and so is hidden from attention too (``mask = "own"`` for an id of its own);
- L_con is the mean over 2B rows, half of what eq. 8 sums.

Our own choice is what lambda and beta weigh if a whole sequence is an example (``contrast_by``), a case that neither
the paper nor the code has.

Departs from the official code in: the augmenters are part of the model and of what is saved; their update builds no
graph through the encoder and skips the recommendation loss, which is not used there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mclrec.augment.views import TwoViews
from mclrec.data.batches import Batch, Histories
from mclrec.losses.contrastive import ViewPairs, info_nce_of, regularizer_official, regularizer_paper
from mclrec.models.contrast_weight import ContrastBy, contrast_share
from mclrec.models.model_config import NONZERO, OnlyWith
from mclrec.models.phases import Losses, Phase, StepContext, Term, Update
from mclrec.models.sequential import AnyEncoderConfig, SequentialRecommender

__all__ = ["AttentionAugmenter", "ConvolutionAugmenter", "MCLRec", "MCLRecConfig", "MLPAugmenter"]

_CROSSED = [(0, 3), (1, 2), (2, 3)]
"""Pairs of eq. 9 among the views (h1, h2, z1, z2)."""

_Contrasted = OnlyWith(lambda_=NONZERO, beta=NONZERO)
_Augmented = OnlyWith(beta=NONZERO)


class MCLRecConfig(AnyEncoderConfig):
    """Configuration of MCLRec: weights of the losses, updates, augmenters and views."""

    lambda_: float = Field(0.03, ge=0, alias="lambda", description="weight of L_cl1, between the two views")
    beta: float = Field(0.1, ge=0, description="weight of L_cl2, with the augmenters' views")
    contrast_by: Annotated[ContrastBy, _Contrasted] = "target"
    gamma: Annotated[float | None, _Augmented, OnlyWith(regularizer=("official", "paper"))] = Field(
        None, ge=0, description="weight of R; .1 beta unless given"
    )
    updates: Literal["three", "two", "joint"] = Field(
        "three", description="encoder, augmenters, encoder; or as in algorithm 1; or one for both (MCLRec-J)"
    )
    regularizer: Annotated[Literal["official", "paper", "off"], _Augmented, OnlyWith(gamma=NONZERO)] = Field(
        "official", description="R as in the official code, R as in the paper, or none"
    )
    mask: Annotated[Literal["padding", "own"], _Contrasted, OnlyWith(mask_ratio=NONZERO)] = Field(
        "padding", description="what a masked item becomes: the padding id, or an id of its own"
    )
    augmenter: Annotated[Literal["mlp", "attention", "convolution"], _Augmented] = Field(
        "mlp", description="phi, the network that makes one more view of a view's hidden state"
    )
    shared_augmenter: Annotated[bool, _Augmented] = Field(
        False, description="whether both views have the same augmenter, phi1 = phi2; row (E) of table 4"
    )
    crop_ratio: Annotated[float, _Contrasted] = Field(
        0.5, gt=0, le=1, description="share of items that crop keeps"
    )
    mask_ratio: Annotated[float, _Contrasted] = Field(
        0.5, ge=0, lt=1, description="share of items that mask hides"
    )
    reorder_ratio: Annotated[float, _Contrasted] = Field(
        0.8, ge=0, le=1, description="share of items that reorder shuffles"
    )
    augmenter_learning_rate: Annotated[float, _Augmented, OnlyWith(updates=("three", "two"))] = Field(
        1e-3, gt=0, description="l' of algorithm 1, the augmenters' learning rate"
    )


class MLPAugmenter(nn.Module):
    """Three linear layers d -> d/2 -> d/4 -> d with GELU between; the output has length 1.

    The paper asks for a 3-layer MLP; widths, activation and normalisation are the official code's.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        narrow, narrower = (
            hidden_size // 2,
            max(1, hidden_size // 4),
        )  # without units, all outputs would be the same
        self.layers = nn.Sequential(
            nn.Linear(hidden_size, narrow),
            nn.GELU(),
            nn.Linear(narrow, narrower),
            nn.GELU(),
            nn.Linear(narrower, hidden_size),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, d) -> (B, d)."""
        return F.normalize(self.layers(hidden), dim=-1)


class AttentionAugmenter(nn.Module):
    """Self-attention among the pieces of one vector, with a residual and a linear layer; the output has length 1.

    The official code has a variant with attention that the paper does not describe; pieces and residual are ours.

    Args:
        hidden_size: d.
        piece: features of a piece, a divisor of d; if d is not a multiple, all features are one piece.
    """

    def __init__(self, hidden_size: int, piece: int = 8) -> None:
        super().__init__()
        self.piece = piece if hidden_size % piece == 0 else hidden_size
        self.qkv = nn.Linear(self.piece, 3 * self.piece)
        self.out = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, d) -> (B, d)."""
        pieces = hidden.unflatten(1, (-1, self.piece))  # (B, d / piece, piece)
        q, k, v = self.qkv(pieces).chunk(3, -1)
        weights = (q @ k.mT / math.sqrt(self.piece)).softmax(-1)
        return F.normalize(self.out((pieces + weights @ v).flatten(1)), dim=-1)


class ConvolutionAugmenter(nn.Module):
    """Two convolutions along the features of one vector with GELU between; the output has length 1.

    The official code has a variant with convolutions that the paper does not describe; its sizes here are ours.

    Args:
        hidden_size: d, unused: filters do not depend on it.
        channels: number of channels between the two convolutions.
        kernel: taps, an odd number.
    """

    def __init__(self, hidden_size: int, channels: int = 8, kernel: int = 5) -> None:  # noqa: ARG002
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, channels, kernel, padding=kernel // 2),
            nn.GELU(),
            nn.Conv1d(channels, 1, kernel, padding=kernel // 2),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, d) -> (B, d)."""
        return F.normalize(self.layers(hidden.unsqueeze(1)).squeeze(1), dim=-1)


_AUGMENTERS = {"mlp": MLPAugmenter, "attention": AttentionAugmenter, "convolution": ConvolutionAugmenter}


class MCLRec(SequentialRecommender):
    """A sequence encoder and two learnable augmenters, trained in turn."""

    config_type = MCLRecConfig
    config: MCLRecConfig

    def __init__(self, config: MCLRecConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        make = _AUGMENTERS[config.augmenter]
        self.augmenter1 = make(config.hidden_size)
        self.augmenter2 = self.augmenter1 if config.shared_augmenter else make(config.hidden_size)
        self._gamma = 0.1 * config.beta if config.gamma is None else config.gamma
        if config.regularizer == "off":
            self._gamma = 0.0

    def phases(self) -> Sequence[Phase]:
        """Algorithm 1 as a tuple of updates. Without L_cl2 there is nothing for the augmenters to learn."""
        encoder, augmenters = Update(self.encoder_loss, "encoder"), Update(self.augmenter_loss, "augmenters")
        updates = {
            "three": (encoder, augmenters, encoder),
            "two": (encoder, augmenters),
            "joint": (Update(self.encoder_loss, "all"),),
        }[self.config.updates]
        if not self.config.beta:
            updates = tuple(update for update in updates if update.group != "augmenters")
        return (self.phase(updates, self.viewer()),)

    def parameter_groups(self) -> Mapping[str, list[nn.Parameter]]:
        """Encoder (theta), augmenters (phi1, phi2), and all of them."""
        augmenters = list(nn.ModuleList([self.augmenter1, self.augmenter2]).parameters())
        return {
            "encoder": self.main_parameters(),
            "augmenters": augmenters,
            "all": list(self.parameters()),
        }

    def learning_rates(self) -> Mapping[str, float]:
        """l', the augmenters' learning rate."""
        return {"augmenters": self.config.augmenter_learning_rate}

    def encoder_loss(self, batch: Batch, context: StepContext) -> Losses:
        """L_0, eq. 14. One pass encodes the histories and both views where possible."""
        states, views = self.states_with_views(batch)
        losses = self.recommendation_losses(states, batch)
        if not views:
            return losses
        h1, h2 = views
        share = contrast_share(self.config.contrast_by, batch)
        weights = (share * weight for weight in (self.config.lambda_, self.config.beta, self._gamma))
        return losses | self._contrast(context, h1, h2, *weights)

    def augmenter_loss(self, batch: Batch, context: StepContext) -> Losses:
        """L_1, eq. 15, with the weight of R relative to L_cl2 as in L_0. The encoder only runs forward here."""
        h1, h2 = self.encode(batch.views)
        return self._contrast(context, h1, h2, 0.0, 1.0, self._gamma / self.config.beta)

    def viewer(self) -> TwoViews | None:
        """Make the operator that draws the two views of the data, eq. 4; None if no loss uses views."""
        config = self.config
        if not config.beta and not config.lambda_:
            return None
        token = 0 if config.mask == "padding" else self.num_items + 1
        return TwoViews.of_ratios(config.crop_ratio, config.mask_ratio, config.reorder_ratio, token)

    def representations(self, views: Sequence[Histories]) -> dict[str, Tensor]:
        """(B, d) each of h1, h2 (eq. 2) and z1, z2 (eq. 5) of two views."""
        h1, h2 = self.encode(views)
        return {"h1": h1, "h2": h2, "z1": self.augmenter1(h1), "z2": self.augmenter2(h2)}

    def _contrast(
        self, context: StepContext, h1: Tensor, h2: Tensor, lambda_: float, beta: float, gamma: float
    ) -> Losses:
        """L_cl1 (eq. 7), L_cl2 (eq. 9) and R (eq. 13) with their weights; terms with weight 0 are left out."""
        views, chosen = [context.gather(h1), context.gather(h2)], []
        if beta:
            views += [context.gather(self.augmenter1(h1)), context.gather(self.augmenter2(h2))]
            chosen += _CROSSED
        if lambda_:
            chosen.append((0, 1))
        pairs = ViewPairs.of(views, chosen)
        contrast = info_nce_of(pairs)
        losses: Losses = {}
        if lambda_:
            losses["cl1"] = Term(contrast[-1], weight=lambda_, whole=True)
        if beta:
            losses["cl2"] = Term(contrast[: len(_CROSSED)].sum(), weight=beta, whole=True)
        if beta and gamma:
            losses["reg"] = Term(self._regularizer(pairs), weight=gamma, whole=True)
        return losses

    def _regularizer(self, pairs: ViewPairs) -> Tensor:
        """R of the pair (z1, z2) in the paper, of all three pairs in the official code."""
        if self.config.regularizer == "paper":
            return regularizer_paper(pairs)[_CROSSED.index((2, 3))]
        return regularizer_official(pairs)[: len(_CROSSED)].sum()
