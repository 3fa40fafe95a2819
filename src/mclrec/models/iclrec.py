"""ICLRec: Chen et al., Intent Contrastive Learning for Sequential Recommendation, WWW 2022.

SASRec with two contrasts in addition to its loss, L = L_rec + lambda L_ICL + beta L_seq:

- instances: two random views of a history, all their states side by side, against the other histories of the batch;
- intents: the mean state of each view against the centroid that its history belongs to. Centroids are
  computed at the start of every epoch, by k-means over the mean states of all training histories:
  the two steps of an EM algorithm.

Follows the authors' code in: the nearest centroid is that of the history itself under the current encoder, without a
gradient; centroids have length 1 in the contrast; histories of the same intent stay negatives of each other, as without
its option for false negatives; a masked item becomes the padding id, which nothing attends to. Departs from it in:
means and rows leave out the states of padding, unless ``contrast = "padded"``; the two views are made by different
operators.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mclrec.augment.views import TwoViews
from mclrec.data.batches import Batch, Histories, to_device
from mclrec.data.examples import sequences
from mclrec.errors import TrainingError
from mclrec.extras import require
from mclrec.losses.contrastive import info_nce, info_nce_of
from mclrec.models.all_states import (
    AllOrPadded,
    AllStatesConfig,
    AllStatesRecommender,
    contrast_of_all_states,
)
from mclrec.models.contrast_weight import ContrastByLater, contrast_share
from mclrec.models.model_config import NONZERO, ModelConfig, OnlyWith
from mclrec.models.phases import FitContext, Losses, Phase, StepContext, Term, Update
from mclrec.nn.packing import mean_pool, take

__all__ = ["ICLRec", "ICLRecConfig", "kmeans"]

_ROWS = 1024  # histories encoded at once for the centroids

_Contrasted = OnlyWith(lambda_=NONZERO, beta=NONZERO)


class ICLRecConfig(AllStatesConfig):
    """Configuration of ICLRec: weights of the contrasts, number of intents, views."""

    intents: Annotated[int, OnlyWith(lambda_=NONZERO)] = Field(
        256, ge=1, description="K, number of intents, which are centroids of k-means"
    )
    lambda_: float = Field(0.1, ge=0, alias="lambda", description="weight of the contrast with intents")
    beta: float = Field(0.1, ge=0, description="weight of the contrast between views")
    contrast_by: Annotated[ContrastByLater, _Contrasted] = "history"
    contrast: Annotated[AllOrPadded, _Contrasted] = "all"
    crop_ratio: Annotated[float, _Contrasted] = Field(
        0.2, gt=0, le=1, description="share of items that crop keeps"
    )
    mask_ratio: Annotated[float, _Contrasted] = Field(
        0.7, ge=0, lt=1, description="share of items that mask hides"
    )
    reorder_ratio: Annotated[float, _Contrasted] = Field(
        0.2, ge=0, le=1, description="share of items that reorder shuffles"
    )


class ICLRec(AllStatesRecommender):
    """A transformer with contrasts between views and with the intents that k-means finds."""

    config_type = ICLRecConfig
    config: ICLRecConfig
    centroids: Tensor

    def __init__(self, config: ICLRecConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.register_buffer("centroids", torch.zeros(config.intents, config.hidden_size))

    def phases(self) -> Sequence[Phase]:
        """One phase with one update per batch."""
        config = self.config
        views = TwoViews.of_ratios(config.crop_ratio, config.mask_ratio, config.reorder_ratio)
        return (self.phase([Update(self.loss, "all")], views),)

    @classmethod
    def extra_of_training(cls, config: ModelConfig) -> str | None:
        """The feature that finds the intents, if there are any."""
        return "iclrec" if getattr(config, "lambda_", 0) else None

    @torch.no_grad()
    def on_epoch_start(self, context: FitContext) -> None:
        """The E step: compute the centroids of all training histories under the current encoder.

        Raises:
            ConfigError: scikit-learn is not installed.
        """
        if not self.config.lambda_:
            return
        examples, training = sequences(context.data, self.max_length), self.training
        self.eval()
        means = []
        for start in range(0, len(examples), _ROWS):
            rows = torch.arange(start, min(start + _ROWS, len(examples))).numpy()
            histories = Histories.of(examples.inputs(rows)).to(self.centroids.device)
            means.append(self._means(histories))
        self.train(training)
        self.centroids.copy_(kmeans(torch.cat(means), self.config.intents, context.generator()))

    def loss(self, batch: Batch, context: StepContext) -> Losses:
        """L_rec and both contrasts."""
        states = self.encoder.encode(batch.histories.items, batch.histories.offsets, "all")
        asked = states
        if self.config.unit == "prefixes":
            asked = take(states, to_device(batch.histories.offsets[1:] - 1, states.device))
        losses = self.recommendation_losses(asked, batch)
        views = self.contrasted(batch.views)
        of_views = self.all_states(views)
        share = contrast_share(self.config.contrast_by, batch)
        if self.config.beta:
            pairs = contrast_of_all_states(of_views, views, self.max_length, context)
            losses["instances"] = Term(info_nce_of(pairs)[0], weight=share * self.config.beta, whole=True)
        if self.config.lambda_:
            means = [mean_pool(of_view, view.offsets) for of_view, view in zip(of_views, views, strict=True)]
            padded = self.config.contrast == "padded"
            own = (
                self._means(batch.histories)
                if padded
                else mean_pool(states.detach(), batch.histories.offsets)
            )
            intents = context.gather(self._intents(own))
            contrasts = [info_nce(context.gather(view), intents) for view in means]
            weight = share * self.config.lambda_
            losses["intents"] = Term(torch.stack(contrasts).mean(), weight=weight, whole=True)
        return losses

    @torch.no_grad()
    def _means(self, histories: Histories) -> Tensor:
        """(B, d) mean of all contrasted states of each history."""
        [contrasted] = self.contrasted([histories])
        [states] = self.all_states([contrasted])
        return mean_pool(states, contrasted.offsets)

    def _intents(self, means: Tensor) -> Tensor:
        """(B, d) the nearest centroid of each mean state, normalised to length 1."""
        nearest = torch.cdist(means.to(self.centroids.dtype), self.centroids).argmin(1)
        return F.normalize(self.centroids[nearest], dim=1)


def kmeans(points: Tensor, clusters: int, rng: np.random.Generator) -> Tensor:
    """Centroids of k-means by scikit-learn, after at most 20 iterations from randomly drawn points.

    Args:
        points: (N, d).
        clusters: K; if there are fewer distinct points, centroids are repeated.
        rng: draws the initial centroids.

    Returns:
        (K, d) on the device of ``points``.

    Raises:
        ConfigError: scikit-learn is not installed.
        TrainingError: a point is not finite.
    """
    require("iclrec")
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if not torch.isfinite(points).all():
        raise TrainingError(
            "the encoder's states are not finite, so they have no clusters: lower the learning rate"
        )
    found = KMeans(
        min(clusters, len(points)),
        init="random",
        n_init=1,
        max_iter=20,
        random_state=int(rng.integers(1 << 31)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        found.fit(points.float().cpu().numpy())
    centroids = torch.from_numpy(found.cluster_centers_).to(points)
    return centroids[torch.arange(clusters) % len(centroids)]
