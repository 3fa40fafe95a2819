"""Co-occurrence as a model without an encoder: what `co_occurrence` adds to the scores of other models.

Score of item j, with i_0 the newest item of the history and s(i, j) the similarity of `mclrec.data.near_items`, which
is higher the more often and the sooner j comes after i in the histories of others:

    sum over the distances d from the end of decay^d s(i_d, j).

The model belongs to the family of sequential rules (Kamehkhosh, Jannach and Ludewig, A Comparison of Frequent Pattern
Techniques and a Deep Learning Method for Session-Based Recommendation, RecTemp at RecSys 2017), which weigh a pair by
1 / distance and count only what comes after an item, and only for the last item of a history. Validation chooses the
decay after counting. Items that are not near any item of the history are ordered by popularity, and items of the
history gain nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from mclrec.data.batches import Histories
from mclrec.data.sequences import SequenceData
from mclrec.models.base import ModelConfig, VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.models.phases import Phase
from mclrec.nn.co_occurrence import CoOccurrence

__all__ = ["Cooccurrence", "CooccurrenceConfig"]

_FAINT = 1e-9
"""Score of the most popular item by popularity: less than any similarity of two items of up to 2^24 rows each."""


class CooccurrenceConfig(ModelConfig):
    """Configuration of the co-occurrence model."""

    calibrated_with = ()
    max_length: int = Field(
        default=50, ge=1, le=100_000, description="newest items of the history that are read"
    )


class Cooccurrence(VectorRecommender):
    """Ranks items by how often and how closely they follow or precede the items of the history."""

    config_type = CooccurrenceConfig
    config: CooccurrenceConfig
    item_tensors = ("biases",)
    counted_tensors: ClassVar[Sequence[str]] = (*VectorRecommender.counted_tensors, "biases")
    memory_advice = "leave rare items out of the log"
    co_occurrence: CoOccurrence
    biases: Tensor

    def __init__(self, config: CooccurrenceConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.max_length = config.max_length
        self.co_occurrence = CoOccurrence(num_items, config.max_length, 1.0)
        self.register_buffer("biases", torch.zeros(num_items + 1))

    def phases(self) -> Sequence[Phase]:
        """No phases: `on_fit_start` counts everything."""
        return ()

    def on_fit_start(self, data: SequenceData) -> None:
        """Count which items are near each other, and how often each item occurs."""
        self.co_occurrence.count(data)
        popularity = torch.from_numpy(data.popularity).double()
        self.biases.copy_(_FAINT * popularity / popularity.max().clamp(min=1))

    def query_vectors(self, histories: Histories) -> Tensor:
        """(B, 1) zeros: a history enters scores only through additions."""
        return self.biases.new_zeros(len(histories), 1)

    def padded_query_vectors(self, items: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 - the exported interface
        """(B, 1) zeros, for export."""
        return (0 * lengths).unsqueeze(1).to(self.biases.dtype)

    def items(self) -> ItemTable:
        """Vectors of zeros, with popularity as biases."""
        return ItemTable(self.biases.new_zeros(len(self.biases), 1), self.num_items, self.biases)
