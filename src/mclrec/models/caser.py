"""Caser: Tang and Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding, WSDM 2018.

The last L items are an image of L x d. Horizontal filters of every height slide over it and keep their maximum
(section 3.2), vertical ones take weighted sums of its rows; a layer maps both to z, and (z, user vector) is the query
(section 3.3). Each window predicts the T items that follow it, by binary cross-entropy against drawn items (section
3.4).

Departs from the paper in: Adam, as for all models here. A user without a training window gets the mean of the other
users' vectors, and an item that was in no training window is treated as an empty place; the paper covers neither. The
filters' activation is ReLU, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mclrec.data.batches import Batch, Histories, target_places
from mclrec.data.examples import Examples
from mclrec.data.negatives import UniformNegatives
from mclrec.data.packed import IntArray
from mclrec.data.sequences import SequenceData
from mclrec.losses.sampled import binary_cross_entropy
from mclrec.models.base import ModelConfig, VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.phases import Losses, NextItem, Phase, StepContext, Term, Update, next_item_examples
from mclrec.nn.dropout import Dropout
from mclrec.nn.trained_rows import TrainedRows

__all__ = ["Caser", "CaserConfig"]


class CaserConfig(ModelConfig):
    """Configuration of Caser: sizes of window and filters."""

    max_length: int = Field(5, ge=1, le=1000, description="L, items in a window")
    # In Python, `targets` is an option of the split, so this setting is given as `targets_`, like `lambda_`.
    targets_: int = Field(
        3, ge=1, le=1000, alias="targets", description="T, following items that a window predicts"
    )
    hidden_size: int = Field(64, ge=1, le=65_536, description="d, the size of item and user vectors")
    vertical: int = Field(4, ge=1, description="vertical filters")
    horizontal: int = Field(16, ge=1, description="horizontal filters of each height")
    dropout: float = Field(0.5, ge=0, lt=1, description="rate before the fully connected layer")
    negatives: int = Field(3, ge=1, le=10_000, description="items drawn for each target")


@dataclass(frozen=True)
class _Windows:
    """Collates windows with several targets each; targets after a user's last item are 0."""

    targets: int
    next_item: NextItem

    def __call__(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Batch:
        """Collate one batch."""
        batch = self.next_item(examples, rows, rng)
        data, spans = examples.data, examples.at(rows)
        places = spans.ends[:, None] + np.arange(self.targets)
        there = places < data.offsets[spans.users + 1][:, None]
        items = np.where(there, data.items[np.minimum(places, len(data.items) - 1)], 0).astype(np.int64)
        targets, count = torch.from_numpy(items), float(np.count_nonzero(there))
        return replace(batch, targets=targets, count=count, places=target_places(targets))


class Caser(VectorRecommender):
    """Convolutions over the latest items, and a user vector."""

    config_type = CaserConfig
    config: CaserConfig
    needs_users = True
    item_tensors = ("item_inputs.weight", "item_inputs.trained", "item_outputs.weight", "item_biases")
    user_tensors = ("user_vectors.weight", "user_vectors.trained")

    def __init__(self, config: CaserConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.max_length, d = config.max_length, config.hidden_size
        self.item_inputs = TrainedRows(num_items, d)
        self.user_vectors = TrainedRows(num_users, d)
        self.item_outputs = nn.Embedding(num_items + 1, 2 * d, padding_idx=0)
        self.item_biases = nn.Parameter(torch.zeros(num_items + 1))
        self.vertical = nn.Linear(config.max_length, config.vertical, bias=False)
        self.horizontal = nn.ModuleList(
            nn.Conv1d(d, config.horizontal, height) for height in range(1, config.max_length + 1)
        )
        self.dropout = Dropout(config.dropout)
        self.layer = nn.Linear(config.vertical * d + config.horizontal * config.max_length, d)
        for table in (self.item_inputs, self.user_vectors, self.item_outputs):
            nn.init.normal_(table.weight[1:], std=1 / table.embedding_dim)

    def on_fit_start(self, data: SequenceData) -> None:
        """Mark users that have a window, and items in windows: all but a user's last item, which is only a target."""
        has_window = data.lengths >= 2
        self.user_vectors.mark(np.flatnonzero(has_window) + 1)
        in_window = np.ones(len(data.items), dtype=bool)
        in_window[data.offsets[1:][data.lengths > 0] - 1] = False
        self.item_inputs.mark(np.unique(data.items[in_window]).astype(np.int64))

    def trained_users(self) -> npt.NDArray[np.bool_]:
        """Users whose vector is trained; implements `Recommender.trained_users`."""
        return self.user_vectors.trained[1:].cpu().numpy()

    def phases(self) -> Sequence[Phase]:
        """One phase with one update per batch."""
        config = self.config
        examples = next_item_examples("prefixes", self.max_length)
        negatives = UniformNegatives(config.negatives * config.targets_)
        collate = _Windows(config.targets_, NextItem(negatives=negatives))
        return (Phase([Update(self.loss, "all")], examples, collate),)

    def loss(self, batch: Batch, context: StepContext) -> Losses:  # noqa: ARG002 - the interface of a loss
        """Binary cross-entropy of all targets that exist, each with its own negatives."""
        assert batch.negatives is not None
        assert batch.places is not None
        queries, table = self.query_vectors(batch.histories).unsqueeze(1), self.items()
        positive = table.pair_scores(queries, batch.targets)
        negative = table.pair_scores(queries, batch.negatives.view(len(batch), -1)).unflatten(
            1, (batch.targets.shape[1], -1)
        )
        pairs = (
            positive.flatten().index_select(0, batch.places),
            negative.flatten(0, 1).index_select(0, batch.places),
        )
        return {"rec": Term(binary_cross_entropy(*pairs), batch.count)}

    def query_vectors(self, histories: Histories) -> Tensor:
        """(B, 2 d) z, followed by the user's vector."""
        items, _ = histories.padded("right")
        return self._queries(F.pad(items, (self.max_length - items.shape[1], 0)), histories.users)

    def padded_query_vectors(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Query vectors of padded histories, for export."""
        return self.padded_user_query_vectors(items, lengths, torch.zeros_like(lengths))

    def padded_user_query_vectors(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """(B, 2 d) from padded histories; implements `VectorRecommender.padded_user_query_vectors`."""
        places = lengths[:, None] - self.max_length + torch.arange(self.max_length, device=items.device)
        newest = items.gather(1, places.clamp(min=0))
        return self._queries(torch.where(places >= 0, newest, 0), users)

    def _queries(self, items: Tensor, users: Tensor) -> Tensor:
        """(B, 2 d) from whole windows (B, L), zeros before the oldest item."""
        window = self.item_inputs(self.item_inputs.known(items))  # (B, L, d)
        columns = self.vertical(window.mT).mT.flatten(1)  # (B, filters d)
        rows = [F.relu(filters(window.mT)).amax(2) for filters in self.horizontal]
        z = F.relu(self.layer(self.dropout(torch.cat([columns, *rows], 1))))
        return torch.cat([z, self._users(users)], 1)

    def items(self) -> ItemTable:
        """W' and b', the output layer."""
        return ItemTable(self.item_outputs.weight, self.num_items, self.item_biases)

    def _users(self, users: Tensor) -> Tensor:
        """(B, d) the users' vectors; for users not seen in training, the mean of the others."""
        known = self.user_vectors.known(users)
        return torch.where((known > 0).unsqueeze(1), self.user_vectors(known), self.user_vectors.mean())
