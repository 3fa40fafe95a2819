"""Baselines that only count, without learned parameters: popularity, recency, personal frequency, Markov chain.

Ties are broken by popularity; the evaluation ranks an item last among those that still tie with it.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mclrec.data.batches import Histories
from mclrec.data.sequences import SequenceData
from mclrec.models.base import ModelConfig
from mclrec.models.counting import Counting, cells_of_rows

__all__ = [
    "Frequency",
    "FrequencyConfig",
    "Markov",
    "MarkovConfig",
    "Popularity",
    "PopularityConfig",
    "Recency",
    "RecencyConfig",
]


class PopularityConfig(ModelConfig):
    """Configuration of popularity, which has no settings."""


class RecencyConfig(ModelConfig):
    """Configuration of recency."""

    max_length: int = Field(default=50, ge=1, description="newest items of the history that are ranked first")


class FrequencyConfig(ModelConfig):
    """Configuration of personal frequency."""

    max_length: int = Field(
        default=1000,
        ge=1,
        le=2000,  # so that scores of different counts and places stay different in fp32, tie-breaks included
        description="newest interactions of the history in which items are counted",
    )


class MarkovConfig(ModelConfig):
    """Configuration of the Markov chain."""

    window: int = Field(
        default=1,
        ge=1,
        description="number of latest items whose followers are counted; 1 is the first-order Markov chain",
    )


class Popularity(Counting):
    """Ranks items by their interactions in training, the same for everyone."""

    config_type = PopularityConfig
    max_length = 1

    def scores(self, histories: Histories) -> Tensor:
        """Scores of all items; implements `Recommender.scores`."""
        return self.popularity.float().expand(len(histories), -1)


class _OwnItemsFirst(Counting):
    """Base of the models that rank the user's own items before all others, which follow by popularity."""

    def __init__(self, config: RecencyConfig | FrequencyConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.max_length = config.max_length

    def newest(self, histories: Histories) -> Tensor:
        """(B, L) newest items, aligned at the right, 0 where a history is shorter."""
        return histories.padded("right")[0][:, -self.max_length :]

    def by_place(self, items: Tensor) -> Tensor:
        """Scores by the place of an item's last occurrence: ``max_length`` for the newest of ``items`` (B, L)."""
        last, first = self.max_length + 1, self.max_length + 1 - items.shape[1]
        places = torch.arange(first, last, device=items.device, dtype=torch.float32)
        start = self.tie_breaks().expand(len(items), -1)
        return start.scatter_reduce(1, items, places.expand_as(items), "amax")


class Recency(_OwnItemsFirst):
    """Ranks the user's own items first, the newest at the top, then the others by popularity.

    Score of an item of the history: the place of its last occurrence, ``max_length`` for the newest. A strong baseline
    where users repeat items.
    """

    config_type = RecencyConfig

    def scores(self, histories: Histories) -> Tensor:
        """Scores of all items; implements `Recommender.scores`."""
        return self.by_place(self.newest(histories))


class Frequency(_OwnItemsFirst):
    """Ranks the user's own items first, by frequency and among equals by recency, then the others by popularity.

    Score of an item of the history: (n + 1) times how often it occurs among the newest n = ``max_length`` interactions,
    plus the place of its last occurrence, n for the newest. Known as P-TopFreq in next-basket recommendation, where few
    models beat it: Li et al., A Next Basket Recommendation Reality Check, ACM TOIS 2023.
    """

    config_type = FrequencyConfig

    def scores(self, histories: Histories) -> Tensor:
        """Scores of all items; implements `Recommender.scores`."""
        items = self.newest(histories)
        scores = self.by_place(items)
        counts = torch.full_like(items, self.max_length + 1, dtype=scores.dtype)
        return scores.scatter_add(1, items, counts)  # whole numbers, which add up exactly in any order


class Markov(Counting):
    """Ranks items by how often they directly followed the latest items in training (first-order Markov chain).

    Score of item j after the latest items i: the number of times that j came directly after i in a training
    sequence, summed over the last ``window`` items of the history.

    The counts n(i, j) are stored by rows: item i was followed by ``successors[offsets[i]:offsets[i + 1]]``,
    ``counts`` times.
    """

    config_type = MarkovConfig
    sized_by_data = ("successors", "counts")
    offsets: Tensor
    successors: Tensor
    counts: Tensor

    def __init__(self, config: MarkovConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.max_length = config.window
        self.register_buffer("offsets", torch.zeros(num_items + 2, dtype=torch.int64))
        for name in self.sized_by_data:
            self.register_buffer(name, torch.zeros(0, dtype=torch.int32))

    def on_fit_start(self, data: SequenceData) -> None:
        """Count the items and the pairs of consecutive items."""
        super().on_fit_start(data)
        base = self.num_items + 1
        items = data.items.astype(np.int64)
        same_user = np.ones(max(len(items) - 1, 0), dtype=bool)
        borders = data.offsets[1:-1]
        same_user[borders[(borders > 0) & (borders < len(items))] - 1] = False
        pairs, counts = np.unique((items[:-1] * base + items[1:])[same_user], return_counts=True)
        followers = np.bincount(pairs // base, minlength=base)
        self.offsets.copy_(torch.from_numpy(np.concatenate([[0], np.cumsum(followers)])))
        self.successors = torch.from_numpy((pairs % base).astype(np.int32)).to(self.offsets.device)
        self.counts = torch.from_numpy(counts.astype(np.int32)).to(self.offsets.device)

    def scores(self, histories: Histories) -> Tensor:
        """Scores of all items; implements `Recommender.scores`."""
        latest = histories.padded("right")[0][:, -self.max_length :]  # (B, W), 0 where a history is shorter
        rows = torch.arange(len(latest), device=latest.device)[:, None].expand_as(latest).reshape(-1)
        places, cells = cells_of_rows(self.offsets, latest.reshape(-1))
        where = (rows[places], self.successors[cells].long())
        # Integers add up exactly in any order; tie-breaks come last, or CUDA's order would affect the sums.
        votes = torch.zeros(len(latest), self.num_items + 1, device=latest.device)
        votes.index_put_(where, self.counts[cells].float(), accumulate=True)
        return votes + self.tie_breaks()
