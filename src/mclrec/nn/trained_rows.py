"""Embeddings that know which of their rows training has reached, so that no other row ever answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mclrec.data.packed import IntArray

__all__ = ["TrainedPositions", "TrainedRows"]


class TrainedRows(nn.Embedding):
    """Embedding whose rows count only after training has seen their ids; all other ids are as id 0, a row of zeros.

    A row is drawn for every id of the data, but under a split by time some users and items have nothing in the
    training part: their rows stay as they were drawn, and mean nothing.

    Args:
        count: number of ids, 1..count.
        hidden_size: d.
    """

    trained: Tensor

    def __init__(self, count: int, hidden_size: int) -> None:
        super().__init__(count + 1, hidden_size, padding_idx=0)
        self.register_buffer("trained", torch.zeros(count + 1, dtype=torch.bool))

    def mark(self, ids: IntArray) -> None:
        """Take the rows of ``ids`` for trained, beside those that were so before (by an earlier model)."""
        self.trained[torch.from_numpy(ids).to(self.trained.device)] = True

    def known(self, ids: Tensor) -> Tensor:
        """``ids`` with 0 in place of those whose row is not trained."""
        return torch.where(self.trained[ids], ids, 0)

    def mean(self) -> Tensor:
        """(d,) mean of the trained rows; zeros where there are none. It has no gradient."""
        rows = torch.where(self.trained.unsqueeze(1), self.weight.detach(), 0)
        return rows.sum(0) / self.trained.sum().clamp(min=1)


class TrainedPositions(nn.Embedding):
    """Embedding of positions that knows how long a history is whose positions training has all seen.

    On a small log no training history is as long as the longest that a model takes: the rows of the positions beyond
    stay as they were drawn, and mean nothing.

    Args:
        count: n, the longest history.
        hidden_size: d.
    """

    seen: Tensor

    def __init__(self, count: int, hidden_size: int) -> None:
        super().__init__(count, hidden_size)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def mark(self, length: int) -> None:
        """Take histories of ``length`` for trained, beside longer ones that were so before (by an earlier model)."""
        self.seen.clamp_(min=min(length, self.num_embeddings))

    @property
    def usable(self) -> int:
        """Tokens that a history may have; n before any training."""
        return int(self.seen) or self.num_embeddings
