"""BPR: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009.

Matrix factorisation that ignores order: one vector per user, and one vector and one bias per item. For each
interaction, an item is drawn that the user does not have, and the model learns to score it lower (section 4.1;
algorithm 1).

Departs from the paper in: Adam on batches of interactions, each of them once per epoch, instead of single steps on
triples drawn with replacement; the L2 penalty is the recipe's ``weight_decay``. The vector of a user without a training
interaction is the mean over the items of the history; the paper does not cover such users.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from mclrec.data.batches import Batch, Histories, to_device
from mclrec.data.examples import interactions
from mclrec.data.negatives import UniformNegatives
from mclrec.data.sequences import SequenceData
from mclrec.losses.sampled import bpr
from mclrec.models.base import ModelConfig, VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.phases import Losses, NextItem, Phase, StepContext, Term, Update
from mclrec.nn.trained_rows import TrainedRows

__all__ = ["BPR", "BPRConfig"]


class BPRConfig(ModelConfig):
    """Configuration of BPR: sizes, and the number of negatives."""

    max_length: int = Field(
        50, ge=1, description="how many items of the history stand for an unknown user, at most"
    )
    hidden_size: int = Field(64, ge=1, le=65_536, description="d, the size of vectors")
    negatives: int = Field(1, ge=1, le=10_000, description="items drawn for each interaction")


class BPR(VectorRecommender):
    """Matrix factorisation trained on pairs of an interaction and a drawn item."""

    config_type = BPRConfig
    config: BPRConfig
    needs_users = True
    item_tensors = ("item_vectors.weight", "item_biases")
    user_tensors = ("user_vectors.weight", "user_vectors.trained")

    def __init__(self, config: BPRConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.max_length = config.max_length
        self.user_vectors = TrainedRows(num_users, config.hidden_size)
        self.item_vectors = nn.Embedding(num_items + 1, config.hidden_size, padding_idx=0)
        self.item_biases = nn.Parameter(torch.zeros(num_items + 1))
        for table in (self.user_vectors, self.item_vectors):
            nn.init.normal_(table.weight[1:], std=0.1)

    def on_fit_start(self, data: SequenceData) -> None:
        """Mark the users with an interaction as trained."""
        self.user_vectors.mark(np.flatnonzero(data.lengths) + 1)

    def trained_users(self) -> npt.NDArray[np.bool_]:
        """Users whose vector is trained; implements `Recommender.trained_users`."""
        return self.user_vectors.trained[1:].cpu().numpy()

    def phases(self) -> Sequence[Phase]:
        """One phase with one update per batch."""
        collate = NextItem(negatives=UniformNegatives(self.config.negatives))
        return (Phase([Update(self.loss, "all")], interactions, collate),)

    def loss(self, batch: Batch, context: StepContext) -> Losses:  # noqa: ARG002 - the interface of a loss
        """Minus log sigmoid of the difference of the two scores."""
        assert batch.negatives is not None
        queries, table = self.user_vectors(batch.histories.users), self.items()
        positive = table.pair_scores(queries, batch.targets)
        if batch.negatives.dim() == 2:
            queries = queries.unsqueeze(1)
        return {"rec": Term(bpr(positive, table.pair_scores(queries, batch.negatives)), batch.count)}

    def query_vectors(self, histories: Histories) -> Tensor:
        """(B, d) vectors of users seen in training; for others, the mean over the items of their history."""
        offsets = to_device(histories.offsets, histories.device)
        means = nn.functional.embedding_bag(
            histories.items, self.item_vectors.weight, offsets, include_last_offset=True, mode="mean"
        )
        return self._of_users(histories.users, means)

    def padded_query_vectors(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Query vectors of padded histories, for export."""
        there = (items > 0).unsqueeze(2)
        means: Tensor = (self.item_vectors(items) * there).sum(1) / lengths.unsqueeze(1)
        return means

    def padded_user_query_vectors(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """Vectors of known users, means for others; implements `VectorRecommender.padded_user_query_vectors`."""
        return self._of_users(users, self.padded_query_vectors(items, lengths))

    def _of_users(self, users: Tensor, means: Tensor) -> Tensor:
        """(B, d) vectors of users seen in training; for others, ``means``."""
        known = self.user_vectors.known(users)
        return torch.where((known > 0).unsqueeze(1), self.user_vectors(known), means)

    def items(self) -> ItemTable:
        """The item vectors and biases."""
        return ItemTable(self.item_vectors.weight, self.num_items, self.item_biases)
