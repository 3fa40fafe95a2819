"""S3-Rec: Zhou et al., S3-Rec: Self-Supervised Learning for Sequential Recommendation with Mutual Information
Maximization, CIKM 2020. Masked item prediction (MIP) alone: the other three tasks need item attributes.

First the encoder, with bidirectional attention, learns to tell a masked item from a drawn one; then it is trained like
SASRec, with causal attention.

Follows the authors' code in: one negative per hidden item and a pairwise logistic loss; the last item of each history
is always hidden, in addition to a fifth of the others; a separate mask id; a linear map before hidden items are
compared. It pre-trains on whole training histories, for a fixed number of epochs without validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated

from pydantic import Field
from torch import nn

from mclrec.data.batches import Batch
from mclrec.data.examples import whole
from mclrec.data.negatives import UniformNegatives
from mclrec.losses.sampled import bpr
from mclrec.models.model_config import NONZERO, OnlyWith
from mclrec.models.phases import Losses, MaskedItems, Phase, StepContext, Term, Update
from mclrec.models.sequential import SequentialConfig, SequentialRecommender
from mclrec.nn.transformer import TransformerEncoder

__all__ = ["S3Rec", "S3RecConfig"]


class S3RecConfig(SequentialConfig):
    """Configuration of S3-Rec: an encoder, a regime and its pre-training."""

    pretrain_epochs: int = Field(100, ge=0, description="epochs of masked item prediction; 0 for none")
    mask_ratio: Annotated[float, OnlyWith(pretrain_epochs=NONZERO)] = Field(
        0.2, gt=0, lt=1, description="probability that an item is hidden in pre-training"
    )


class S3Rec(SequentialRecommender):
    """A transformer that is pre-trained by masked item prediction, then trained like SASRec."""

    config_type = S3RecConfig
    config: S3RecConfig
    encoder: TransformerEncoder

    def __init__(self, config: S3RecConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.comparison = nn.Linear(config.hidden_size, config.hidden_size)

    def phases(self) -> Sequence[Phase]:
        """Pre-training, then training."""
        config, training = self.config, self.phase([Update(self.loss, "all")])
        if not config.pretrain_epochs:
            return (training,)
        pretraining = Phase(
            [Update(self.pretraining_loss, "all")],
            partial(whole, max_length=self.max_length),
            MaskedItems(config.mask_ratio, last_always=True, negatives=UniformNegatives()),
            name="pretrain",
            epochs=config.pretrain_epochs,
            validate=False,
        )
        return (pretraining, training)

    def pretraining_loss(self, batch: Batch, context: StepContext) -> Losses:  # noqa: ARG002
        """Pairwise logistic loss of masked items, with one drawn item for each."""
        assert batch.negatives is not None
        assert batch.places is not None
        with self._both_sides():
            states = self.encoder.encode(batch.histories.items, batch.histories.offsets, "all")
        places = batch.places
        queries = self.as_queries(self.comparison(states.index_select(0, places)))
        table = self.items()
        positive = table.pair_scores(queries, batch.targets[places])
        negative = table.pair_scores(queries, batch.negatives[places])
        return {"mip": Term(bpr(positive, negative), batch.count)}

    @contextmanager
    def _both_sides(self) -> Iterator[None]:
        self.encoder.causal = False
        try:
            yield
        finally:
            self.encoder.causal = True
