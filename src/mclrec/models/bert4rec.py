"""BERT4Rec: Sun et al., BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations, CIKM 2019.

A bidirectional transformer predicts masked items (section 3.6). To recommend, a mask is appended to the history; the
oldest item is dropped only if the history is full. Scores are a projection of the mask's state with GELU and LayerNorm,
times the item table, plus a bias (section 3.5).

In a share of the training examples only the last item is masked, as when recommending (section 3.6). This model looks
bad when it is not trained for long enough, so its recipes have a high patience.

Departs from the paper in: masks are drawn in every epoch instead of ten times in advance.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mclrec.data.batches import Batch, Histories
from mclrec.data.cloze import append_mask
from mclrec.data.examples import whole
from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.models.base import VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.model_config import OnlyWith, OtherThan
from mclrec.models.phases import Losses, MaskedItems, Phase, StepContext, Term, Update
from mclrec.models.sequential import EncoderConfig, make_transformer
from mclrec.nn.items import item_biases

__all__ = ["BERT4Rec", "BERT4RecConfig"]


class BERT4RecConfig(EncoderConfig):
    """Configuration of BERT4Rec: the encoder, and which items are hidden."""

    max_length: int = Field(
        50,
        ge=2,
        le=100_000,
        description="n, the longest history that is used; a mask takes one of its places",
    )
    mask_ratio: Annotated[float, OnlyWith(last_only=OtherThan(1))] = Field(
        0.2, gt=0, lt=1, description="rho, probability that an item is hidden"
    )
    last_only: float = Field(0.1, ge=0, le=1, description="share of examples that hide only the last item")


class BERT4Rec(VectorRecommender):
    """A bidirectional transformer that predicts hidden items."""

    config_type = BERT4RecConfig
    config: BERT4RecConfig
    item_tensors = ("encoder.items.weight", "item_biases")
    supports_sharding = True

    def __init__(self, config: BERT4RecConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.max_length = config.max_length
        self.encoder = make_transformer(config, num_items, causal=False)
        self.projection = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=1e-12)
        self.item_biases = item_biases(num_items)

    @property
    def reads(self) -> int:
        """Number of newest items that are read; a mask is appended to them."""
        usable = self.encoder.usable
        return self.max_length if usable == self.max_length else max(usable - 1, 1)

    def on_fit_start(self, data: SequenceData) -> None:
        """Record the length of the longest training history, which has all items of a user."""
        self.encoder.mark(max(int(data.lengths.max(initial=0)), 2))

    def phases(self) -> Sequence[Phase]:
        """One phase with one update per batch."""
        collate = MaskedItems(self.config.mask_ratio, last_only=self.config.last_only)
        return (Phase([Update(self.loss, "all")], partial(whole, max_length=self.max_length), collate),)

    def loss(self, batch: Batch, context: StepContext) -> Losses:  # noqa: ARG002 - the interface of a loss
        """Cross-entropy of the hidden items over the catalogue."""
        assert batch.places is not None
        states = self.encoder.encode(batch.histories.items, batch.histories.offsets, "all")
        places = batch.places
        queries = self._project(states.index_select(0, places))
        return {"rec": Term(self.items().cross_entropy(queries, batch.targets[places]), batch.count)}

    def query_vectors(self, histories: Histories) -> Tensor:
        """(B, d) the projected state of a mask after the last item."""
        packed = Packed(histories.items.cpu().numpy(), histories.offsets.numpy())
        asked = Histories.of(append_mask(packed, self.num_items + 1, self.max_length)).to(histories.device)
        return self._project(self.encoder.encode(asked.items, asked.offsets))

    def padded_query_vectors(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Query vectors of padded histories, for export."""
        dropped = (lengths - (self.max_length - 1)).clamp(min=0)[:, None]  # the oldest item of a full history
        places = torch.arange(items.shape[1] + 1, device=items.device)
        moved = F.pad(items, (0, 2)).gather(1, places + dropped)
        kept = lengths[:, None] - dropped
        asked = torch.where(places == kept, self.num_items + 1, moved)
        return self._project(self.encoder(asked, kept.squeeze(1) + 1))

    def items(self) -> ItemTable:
        """The encoder's embedding, with biases."""
        return ItemTable(self.encoder.items.weight, self.num_items, self.item_biases, self.shard)

    def _project(self, states: Tensor) -> Tensor:
        out: Tensor = self.norm(F.gelu(self.projection(states)))
        return out
