"""SASRec: Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018.

A causal transformer over the history; the last hidden state is the query (section III). Two regimes:

- ``unit = "prefixes", loss = "softmax"``: the encoder of DuoRec and MCLRec trained by the recommendation loss alone.
- ``unit = "sequences", loss = "bce", positions = "newest"``: the paper's own, with one uniform negative a position
  as S3-Rec, CoSeRec and ICLRec run it.

For catalogues over which the softmax is too dear, two losses whose cost does not depend on V:

- ``loss = "sampled"``: softmax over items drawn once for a batch, corrected for how often each is drawn;
- ``loss = "gbce"``: gSASRec, Petrov and Macdonald, RecSys 2023: several uniform negatives a target, and a power of the
  target's probability that makes up for their being so few. Negatives are never items of the user's own.

Departs from the paper in: post-norm blocks, GELU, an inner size of 4 d, scores tied to the item table, LayerNorm
after the embedding; all as in the implementations that the tables of this field come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mclrec.data.batches import Batch
from mclrec.data.negatives import SharedNegatives, UniformNegatives
from mclrec.losses.ranking import generalised_cross_entropy, sampled_softmax
from mclrec.models.phases import Losses, NextItem, Phase, StepContext, Term, Update, next_item_examples
from mclrec.models.sequential import SequentialConfig, SequentialRecommender
from mclrec.nn.transformer import TransformerEncoder

__all__ = ["SASRec", "SASRecConfig"]


class SASRecConfig(SequentialConfig):
    """Configuration of SASRec: an encoder, a regime, and how items are drawn where the loss draws them."""

    loss: Literal["softmax", "bce", "sampled", "gbce"] = Field(  # type: ignore[assignment] # two more
        "softmax", description="over the catalogue, one negative a target, over drawn items, or gSASRec's"
    )
    samples: int = Field(2048, ge=1, description="items drawn for a batch, for loss = sampled")
    sample_power: float = Field(0.75, ge=0, description="power of the popularity by which they are drawn")
    negatives: int = Field(256, ge=1, description="items drawn for each target, for loss = gbce")
    calibration: float = Field(0.75, ge=0, le=1, description="t, how far gbce is calibrated")


class SASRec(SequentialRecommender):
    """See the module."""

    config_type = SASRecConfig
    config: SASRecConfig
    encoder: TransformerEncoder

    def phases(self) -> Sequence[Phase]:
        """One phase, one update a batch."""
        config, updates = self.config, [Update(self.loss, "all")]
        examples = next_item_examples(config.unit, self.max_length)
        if config.loss == "sampled":
            shared = SharedNegatives(config.samples, config.sample_power)
            return (Phase(updates, examples, NextItem(shared=shared)),)
        if config.loss == "gbce":
            negatives = UniformNegatives(config.negatives)
            return (Phase(updates, examples, NextItem(negatives=negatives)),)
        return (self.phase(updates),)

    def loss(self, batch: Batch, context: StepContext) -> Losses:  # noqa: ARG002 - the interface of a loss
        """Recommendation loss."""
        states = self.target_states(batch)
        if self.config.loss == "sampled":
            return {"rec": Term(self._sampled(self.as_queries(states), batch), batch.count)}
        if self.config.loss == "gbce":
            return {"rec": Term(self._gbce(self.as_queries(states), batch), batch.count)}
        return {"rec": self.recommendation_loss(states, batch)}

    def _sampled(self, queries: Tensor, batch: Batch) -> Tensor:
        assert batch.shared is not None
        assert batch.shared_log_counts is not None
        table = self.items()
        positive, negative = (
            table.pair_scores(queries, batch.targets),
            table.scores_of(queries, batch.shared),
        )
        negative = negative.masked_fill(batch.targets.unsqueeze(1) == batch.shared, -torch.inf)
        return sampled_softmax(positive.to(negative.dtype), negative, batch.shared_log_counts.to(negative))

    def _gbce(self, queries: Tensor, batch: Batch) -> Tensor:
        assert batch.negatives is not None
        table, count = self.items(), self.config.negatives
        positive = table.pair_scores(queries, batch.targets)
        drawn = batch.negatives.view(-1, count)  # (T, k)
        negative = table.pair_scores(queries.unsqueeze(1), drawn)
        rate = min(count / max(self.num_items - 1, 1), 1.0)
        return generalised_cross_entropy(positive, negative, rate, self.config.calibration)
