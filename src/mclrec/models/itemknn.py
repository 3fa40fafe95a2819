"""ItemKNN: item-based nearest neighbours, cosine of co-occurrence with shrinkage.

Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, ACM TOIS 2004 (sections 4.1 and 4.2), with the
shrinkage and the form of Ferrari Dacrema et al., Are We Really Making Much Progress?, RecSys 2019:

    s(i, j) = n(i, j) / (sqrt(n(i) n(j)) + shrink),   score of j = sum over the history's items i of s(i, j),

where n(i) users have item i and n(i, j) have both; for each item j, the ``neighbours`` most similar items i are kept.

Departs from the papers in: neighbours are kept for each item that is scored, as in Dacrema et al., whereas Deshpande
and Karypis keep them for each item of the history; similarities are not normalised by column; items without any
neighbour in the history are ordered by popularity (`mclrec.models.item_item`). Users and items are not weighted
otherwise (no TF-IDF).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field
from torch import Tensor

from mclrec.data.batches import Histories
from mclrec.data.packed import highest_of_each
from mclrec.data.sequences import SequenceData, distinct_items
from mclrec.models.item_item import Cells, ItemItem, ItemItemConfig, common_users

__all__ = ["ItemKNN", "ItemKNNConfig"]


class ItemKNNConfig(ItemItemConfig):
    """Configuration of ItemKNN."""

    neighbours: int = Field(
        default=100, ge=1, description="k, most similar items that are kept for each item"
    )
    shrink: float = Field(
        default=0.0,
        ge=0,
        le=1e9,
        description="added to the denominator: similarities based on few users count less",
    )
    repeats: bool = Field(
        default=False, description="whether an item that is twice in the history counts twice"
    )


class ItemKNN(ItemItem):
    """Ranks items by their similarity to the items of the history, based on the users that they have in common."""

    config_type = ItemKNNConfig
    config: ItemKNNConfig

    def on_fit_start(self, data: SequenceData) -> None:
        """Count the common users of any two items, and keep the nearest neighbours of each item."""
        super().on_fit_start(data)
        users = distinct_items(data)
        holders = np.bincount(users.items, minlength=self.num_items + 1)
        self.keep(self._nearest(cells, holders) for cells in common_users(users, self.num_items))

    def voters(self, histories: Histories) -> tuple[Tensor, Tensor]:
        """Row and item of each item whose weights are added; as `ItemItem.voters` unless repeated items count."""
        return self.ordered(histories) if self.config.repeats else super().voters(histories)

    def _nearest(self, common: Cells, holders: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Cells:
        """The most similar items of each target; ties go to the lower id."""
        apart = common.targets != common.sources
        targets, sources = common.targets[apart], common.sources[apart]
        lengths = np.sqrt(holders[targets].astype(np.float64) * holders[sources])
        similar = common.values[apart] / (lengths + self.config.shrink)
        kept = highest_of_each(targets, similar, self.config.neighbours)
        return Cells(targets[kept], sources[kept], similar[kept])
