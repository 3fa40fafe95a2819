"""GRU4Rec: Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016.

A recurrent network reads the history; its last state is the query. Three losses:

- ``softmax``: cross-entropy over the catalogue;
- ``bpr-max``, ``top1-max``: Hidasi and Karatzoglou, CIKM 2018, against items drawn for the whole batch.

Departs from the papers in: a user's history is one sequence with a target at every position (or prefixes), and the
gradient goes all the way back, instead of session-parallel batches of single steps; negatives are drawn items alone,
by popularity to a power, and not the other targets of the batch beside them; scores are tied to the item table, which
the authors' code offers as "constrained embedding".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mclrec.data.batches import Batch, Histories
from mclrec.data.negatives import SharedNegatives
from mclrec.losses.ranking import bpr_max, top1_max
from mclrec.models.base import ModelConfig, VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.phases import Losses, NextItem, Phase, StepContext, Term, Update, next_item_examples
from mclrec.nn.gru import GRUEncoder
from mclrec.nn.items import item_biases

__all__ = ["GRU4Rec", "GRU4RecConfig"]


class GRU4RecConfig(ModelConfig):
    """Sizes, regime and loss."""

    max_length: int = Field(50, ge=1, description="n, the longest history that is used")
    hidden_size: int = Field(64, ge=2, description="d, the size of item vectors")
    inner_size: int = Field(128, ge=1, description="size of the recurrent state")
    layers: int = Field(1, ge=1, description="recurrent layers")
    dropout: float = Field(0.3, ge=0, lt=1, description="rate after the embedding")
    unit: Literal["prefixes", "sequences"] = Field(
        "prefixes", description="one target an example, or one at every position of a user's sequence"
    )
    loss: Literal["softmax", "bpr-max", "top1-max"] = Field(
        "softmax", description="over the catalogue, or against drawn items"
    )
    samples: int = Field(2048, ge=1, description="items drawn for a batch, for the last two losses")
    sample_power: float = Field(0.75, ge=0, description="power of the popularity by which they are drawn")
    penalty: float = Field(1.0, ge=0, description="on the scores of the negatives, in bpr-max")


class GRU4Rec(VectorRecommender):
    """See the module."""

    config_type = GRU4RecConfig
    config: GRU4RecConfig
    item_tensors = ("encoder.items.weight", "item_biases")
    supports_sharding = True

    def __init__(self, config: GRU4RecConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.max_length = config.max_length
        self.encoder = GRUEncoder(
            num_items=num_items,
            max_length=config.max_length,
            hidden_size=config.hidden_size,
            layers=config.layers,
            inner_size=config.inner_size,
            dropout=config.dropout,
        )
        self.item_biases = item_biases(num_items)

    def phases(self) -> Sequence[Phase]:
        """One phase, one update a batch."""
        config = self.config
        drawn = None if config.loss == "softmax" else SharedNegatives(config.samples, config.sample_power)
        examples = next_item_examples(config.unit, self.max_length)
        return (Phase([Update(self.loss, "all")], examples, NextItem(shared=drawn)),)

    def loss(self, batch: Batch, context: StepContext) -> Losses:  # noqa: ARG002 - the interface of a loss
        """The configured loss."""
        outputs: Literal["last", "all"] = "last" if self.config.unit == "prefixes" else "all"
        states = self.encoder.encode(batch.histories.items, batch.histories.offsets, outputs)
        table = self.items()
        if batch.shared is None:
            return {"rec": Term(table.cross_entropy(states, batch.targets), batch.count)}
        positive = table.pair_scores(states, batch.targets).float()
        negative = table.scores_of(states, batch.shared)
        negative = negative.masked_fill(batch.targets.unsqueeze(1) == batch.shared, -torch.inf)
        if self.config.loss == "top1-max":
            return {"rec": Term(top1_max(positive, negative), batch.count)}
        return {"rec": Term(bpr_max(positive, negative, self.config.penalty), batch.count)}

    def query_vectors(self, histories: Histories) -> Tensor:
        """(B, d) last states."""
        return self.encoder.encode(histories.items, histories.offsets)

    def padded_query_vectors(self, items: Tensor, lengths: Tensor) -> Tensor:
        """See `VectorRecommender.padded_query_vectors`."""
        out: Tensor = self.encoder(items, lengths)
        return out

    def items(self) -> ItemTable:
        """The encoder's own embedding, and biases."""
        return ItemTable(self.encoder.items.weight, self.num_items, self.item_biases, self.shard)
