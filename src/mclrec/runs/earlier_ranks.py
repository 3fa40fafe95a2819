"""Ranks of an earlier model on the targets of newer data, as it would have answered."""

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
    """(M,) ranks of targets of newer data among the items of an earlier model.

    It is asked as the service asks: items that it does not know are left out of a history, and a history without an
    item that it knows has the popular items for an answer. A target that it does not know is a miss.

    Args:
        earlier: the model, on ``device``.
        targets: of the newer data.
        seen: whether items of the history stay candidates.
        device: where the model is.
    """
    return rank_targets(_InNewerIds(earlier, targets.data), targets, seen=seen, device=device)


class _InNewerIds(Recommender):
    """An earlier model that is asked in the dense ids of newer data.

    Args:
        earlier: the model, with its vocabularies and counts.
        data: the newer data.
    """

    def __init__(self, earlier: LoadedModel, data: SequenceData) -> None:
        super().__init__(earlier.model.config, earlier.model.num_items)
        self.model = earlier.model
        self.max_length = max(int(data.lengths.max(initial=1)), 1)  # cut after unknown items are left out
        self._items = np.concatenate([[0], earlier.items.dense_all(data.item_ids)])
        self._users = np.zeros(data.num_users + 1, dtype=np.int64)
        if earlier.users is not None:
            users = earlier.users.dense_all(data.user_ids)
            trained = np.concatenate([[False], self.model.trained_users()])
            self._users[1:] = np.where(trained[users], users, 0)
        self._counts = earlier.counts
        self._ordered = np.sort(earlier.counts[1:])

    def phases(self) -> Sequence[Phase]:
        """No phases: it is not trained."""
        return ()

    def scores(self, histories: Histories) -> Tensor:
        """Scores of the earlier model's own items; implements `Recommender.scores`."""
        return self.model.scores(self._translated(histories))

    def ranks(self, histories: Histories, items: Tensor, excluded: Packed | None, rows: int) -> Tensor:
        """Rank one item a history among the earlier model's items; overrides `Recommender.ranks`."""
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
        """Histories in the earlier model's ids, what it does not know left out."""
        packed = Packed(histories.items.cpu().numpy(), histories.offsets.numpy())
        users = self._users[histories.users.cpu().numpy()]
        return Histories.of(self._known(packed), users).to(histories.device)

    def _known(self, packed: Packed) -> Packed:
        """Sequences in the earlier model's ids, what it does not know left out."""
        items = self._items[packed.items]
        kept = np.concatenate([[0], np.cumsum(items > 0)])
        return Packed(items[items > 0], kept[packed.offsets])
