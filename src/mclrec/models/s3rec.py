"""S3-Rec: Zhou et al., S3-Rec: Self-Supervised Learning for Sequential Recommendation with Mutual Information
Maximization, CIKM 2020. Masked item prediction (MIP) alone: the other three tasks need attributes of items.

First the encoder, seeing both sides, learns to tell a hidden item from a drawn one; then it
is trained as SASRec, seeing what came before alone.

Follows the authors' code in: one negative a hidden item and a pairwise logistic loss; the last item of each history is
always hidden beside a fifth of the others; a mask id of its own; a linear map before hidden items are compared. It
pre-trains on whole training histories, for a fixed number of epochs without validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from pydantic import Field
from torch import nn

from mclrec.data.batches import Batch, Histories
from mclrec.data.cloze import cloze
from mclrec.data.examples import Examples, whole
from mclrec.data.negatives import UniformNegatives
from mclrec.data.packed import IntArray
from mclrec.data.sequences import SequenceData
from mclrec.losses.ranking import bpr
from mclrec.models.base import Losses, Phase, StepContext, Term, Update
from mclrec.models.sequential import SequentialConfig, SequentialRecommender
from mclrec.nn.transformer import TransformerEncoder

__all__ = ["S3Rec", "S3RecConfig"]


class S3RecConfig(SequentialConfig):
    """How it is pre-trained."""

    pretrain_epochs: int = Field(100, ge=0, description="epochs of masked item prediction; 0 for none")
    mask_ratio: float = Field(0.2, gt=0, lt=1, description="probability that an item is hidden")


@dataclass(frozen=True)
class _Pretraining:
    """Whole histories with hidden items, and an item that the user does not have beside each."""

    updates: Sequence[Update]
    config: S3RecConfig
    name: str = "pretrain"
    validate: bool = False
    negatives: UniformNegatives = field(default_factory=UniformNegatives)

    @property
    def epochs(self) -> int | None:
        """See `Phase.epochs`."""
        return self.config.pretrain_epochs

    def examples(self, data: SequenceData) -> Examples:
        """See `Phase.examples`."""
        return whole(data, self.config.max_length)

    def prepare(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Batch:
        """See `Phase.prepare`."""
        mask = examples.data.num_items + 1
        inputs, hidden = cloze(examples.inputs(rows), self.config.mask_ratio, mask, rng, last_always=True)
        users = examples.at(rows).users
        negatives = self.negatives.for_users(examples.data, np.repeat(users, inputs.lengths), rng.spawn(1)[0])
        return Batch(
            Histories.of(inputs, users + 1),
            torch.from_numpy(hidden),
            count=float(np.count_nonzero(hidden)),
            negatives=torch.from_numpy(negatives),
        )


class S3Rec(SequentialRecommender):
    """See the module."""

    config_type = S3RecConfig
    config: S3RecConfig
    encoder: TransformerEncoder

    def __init__(self, config: S3RecConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.comparison = nn.Linear(config.hidden_size, config.hidden_size)

    def phases(self) -> Sequence[Phase]:
        """Pre-training, then training."""
        training = self.phase([Update(self.loss, "all")])
        if not self.config.pretrain_epochs:
            return (training,)
        return (_Pretraining([Update(self.pretraining_loss, "all")], self.config), training)

    def pretraining_loss(self, batch: Batch, context: StepContext) -> Losses:  # noqa: ARG002
        """Hidden items against drawn ones, by one negative each."""
        assert batch.negatives is not None
        with self._both_sides():
            states = self.encoder.encode(batch.histories.items, batch.histories.offsets, "all")
        places = batch.targets.nonzero().squeeze(1)
        queries = self.as_queries(self.comparison(states.index_select(0, places)))
        table = self.items()
        positive = table.pair_scores(queries, batch.targets[places])
        negative = table.pair_scores(queries, batch.negatives[places])
        return {"mip": Term(bpr(positive, negative), batch.count)}

    def loss(self, batch: Batch, context: StepContext) -> Losses:  # noqa: ARG002 - the interface of a loss
        """Recommendation loss."""
        return {"rec": self.recommendation_loss(self.target_states(batch), batch)}

    @contextmanager
    def _both_sides(self) -> Iterator[None]:
        self.encoder.causal = False
        try:
            yield
        finally:
            self.encoder.causal = True
