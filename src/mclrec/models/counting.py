"""Base of the models without learned parameters: they count once, in `on_fit_start`, and have no phases."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from mclrec.data.sequences import SequenceData
from mclrec.models.base import ModelConfig, Recommender
from mclrec.models.phases import Phase

__all__ = ["Counting", "cells_of_rows"]


class Counting(Recommender):
    """Base of the counting models: item counts, and no training.

    Nothing is learned by gradient descent: counts and solutions are kept in buffers, saved and loaded with the model.
    """

    sized_by_data: ClassVar[tuple[str, ...]] = ()
    """Names of one-dimensional buffers whose length is known only after fitting."""
    popularity: Tensor

    def __init__(self, config: ModelConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self.register_buffer("popularity", torch.zeros(num_items + 1, dtype=torch.int64))

    def phases(self) -> tuple[Phase, ...]:
        """No phases: `on_fit_start` counts everything."""
        return ()

    def on_fit_start(self, data: SequenceData) -> None:
        """Count the items."""
        self.popularity.copy_(torch.from_numpy(data.popularity))

    def tie_breaks(self) -> Tensor:
        """(V + 1,) fp32 in 0..1/2, rising with popularity.

        Added to an integer below 2^22, it never reaches the next one, rounding included.
        """
        most = self.popularity.max().clamp(min=1)
        return (self.popularity.double() / (2 * most)).float()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load buffers of any length, as their length is known only after fitting."""
        for name in self.sized_by_data:
            stored, own = state_dict.get(prefix + name), getattr(self, name)
            if isinstance(stored, Tensor) and stored.dim() == 1:
                setattr(self, name, own.new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


def cells_of_rows(offsets: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Find the stored cells of some rows of a sparse matrix that is stored by rows (CSR).

    Args:
        offsets: (R + 1,) row r has the cells ``offsets[r]`` up to ``offsets[r + 1]``.
        rows: (T,) rows, possibly repeated.

    Returns:
        (C,) place in ``rows`` that each cell belongs to, and (C,) the cells, one row after the other.
    """
    starts = offsets[rows]
    lengths = offsets[rows + 1] - starts
    ends = lengths.cumsum(0)
    total = int(lengths.sum())
    cells = torch.arange(total, device=rows.device)
    cells += (starts - (ends - lengths)).repeat_interleave(lengths, output_size=total)
    places = torch.arange(len(rows), device=rows.device)
    return places.repeat_interleave(lengths, output_size=total), cells
