"""Embeddings that keep track of which rows have been trained, so that no other row is ever used."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mclrec.data.packed import IntArray

__all__ = ["TrainedPositions", "TrainedRows"]


class TrainedRows(nn.Embedding):
    """Embedding whose rows count only once training has seen their ids; other ids are treated as 0, a row of zeros.

    Every id of the data has a row, but under a split by time some users and items do not occur in the training part:
    their rows keep their random initial values, which mean nothing.

    Args:
        count: number of ids, 1..count.
        hidden_size: d.
    """

    trained: Tensor

    def __init__(self, count: int, hidden_size: int) -> None:
        super().__init__(count + 1, hidden_size, padding_idx=0)
        self.register_buffer("trained", torch.zeros(count + 1, dtype=torch.bool))

    def mark(self, ids: IntArray) -> None:
        """Mark the rows of ``ids`` as trained, in addition to those marked before (by an earlier model)."""
        self.trained[torch.from_numpy(ids).to(self.trained.device)] = True

    def known(self, ids: Tensor) -> Tensor:
        """``ids`` with 0 in place of those whose row is not trained."""
        return torch.where(self.trained[ids], ids, 0)

    def mean(self) -> Tensor:
        """(d,) mean of the trained rows, without a gradient; zeros if there are none."""
        rows = torch.where(self.trained.unsqueeze(1), self.weight.detach(), 0)
        return rows.sum(0) / self.trained.sum().clamp(min=1)


class TrainedPositions(nn.Embedding):
    """Position embedding that keeps track of the longest history whose positions have all been trained.

    On a small log, no training history may be as long as the longest that a model accepts: the rows of the remaining
    positions keep their random initial values, which mean nothing.

    Args:
        count: n, the longest history.
        hidden_size: d.
    """

    seen: Tensor

    def __init__(self, count: int, hidden_size: int) -> None:
        super().__init__(count, hidden_size)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def mark(self, length: int) -> None:
        """Mark the positions of histories of ``length`` as trained; longer marks (of an earlier model) are kept."""
        self.seen.clamp_(min=min(length, self.num_embeddings))

    @property
    def usable(self) -> int:
        """Length of the longest history whose positions are trained; n before any training."""
        return int(self.seen) or self.num_embeddings
