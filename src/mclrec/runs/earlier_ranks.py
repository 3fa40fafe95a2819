"""Ranks that an earlier model gives to the targets of newer data, as it would answer in service."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mclrec.data.batches import Histories
from mclrec.data.packed import IntArray, Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Targets
from mclrec.evaluation.metrics import MISS
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import rank_targets
from mclrec.models.base import Recommender
from mclrec.models.phases import Phase
from mclrec.models.storage import LoadedModel

__all__ = ["earlier_ranks"]


def earlier_ranks(earlier: LoadedModel, targets: Targets, seen: Seen, device: torch.device) -> IntArray:
    """Rank the targets of newer data with an earlier model, among its own items: (M,).

    The model is queried as by the service: unknown items are left out of a history, and a history without any known
    item is answered with the popular items. An unknown target is a miss.

    Args:
        earlier: the model, on ``device``.
        targets: targets of the newer data.
        seen: whether items of the history stay candidates.
        device: device of the model.
    """
    return rank_targets(_NewerIdsAdapter(earlier, targets.data), targets, seen=seen, device=device)


class _NewerIdsAdapter(Recommender):
    """Adapter that lets an earlier model be queried in the dense ids of newer data.

    Args:
        earlier: the earlier model, with its vocabularies and counts.
        data: the newer data.
    """

    def __init__(self, earlier: LoadedModel, data: SequenceData) -> None:
        super().__init__(earlier.model.config, earlier.model.num_items)
        self.model = earlier.model
        self.max_length = max(
            int(data.lengths.max(initial=1)), 1
        )  # truncated after unknown items are dropped
        self._items = np.concatenate([[0], earlier.items.dense_all(data.item_ids)])
        self._users = np.zeros(data.num_users + 1, dtype=np.int64)
        if earlier.users is not None:
            users = earlier.users.dense_all(data.user_ids)
            trained = np.concatenate([[False], self.model.trained_users()])
            self._users[1:] = np.where(trained[users], users, 0)
        self._counts = earlier.counts
        self._ordered = np.sort(earlier.counts[1:])

    def phases(self) -> Sequence[Phase]:
        """No phases: the model is not trained."""
        return ()

    def scores(self, histories: Histories) -> Tensor:
        """Scores of the earlier model over its own items; implements `Recommender.scores`."""
        return self.model.scores(self._translated(histories))

    def ranks(self, histories: Histories, items: Tensor, excluded: Packed | None, rows: int) -> Tensor:
        """Rank one item per history among the earlier model's items; overrides `Recommender.ranks`."""
        known = self._translated(histories)
        own = self._items[items.numpy()]
        ranks = np.full(len(own), MISS, dtype=np.int64)
        lengths = known.lengths.numpy()
        popular, asked = (np.flatnonzero((own > 0) & empty) for empty in (lengths == 0, lengths > 0))
        ranks[popular] = self.num_items - np.searchsorted(self._ordered, self._counts[own[popular]])
        if len(asked):
            left_out = None if excluded is None else self._known(excluded).take(asked)
            packed = Packed(known.items.cpu().numpy(), known.offsets.numpy())
            query = Histories.of(packed.take(asked, self.model.remembers), known.users.cpu().numpy()[asked])
            own_items = torch.from_numpy(own[asked])
            ranks[asked] = self.model.ranks(query.to(histories.device), own_items, left_out, rows).numpy()
        return torch.from_numpy(ranks)

    def _translated(self, histories: Histories) -> Histories:
        """Histories in the earlier model's ids, without items it does not know."""
        packed = Packed(histories.items.cpu().numpy(), histories.offsets.numpy())
        users = self._users[histories.users.cpu().numpy()]
        return Histories.of(self._known(packed), users).to(histories.device)

    def _known(self, packed: Packed) -> Packed:
        """Sequences in the earlier model's ids, without items it does not know."""
        items = self._items[packed.items]
        kept = np.concatenate([[0], np.cumsum(items > 0)])
        return Packed(items[items > 0], kept[packed.offsets])
