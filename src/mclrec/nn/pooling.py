"""Pooling: one vector for a whole history, from the states of all its tokens."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["flatten_newest", "mean_pool"]


def mean_pool(states: Tensor, offsets: Tensor) -> Tensor:
    """Mean state of each history.

    Args:
        states: (T, d) packed.
        offsets: (B + 1,) on the host, none of the histories empty.

    Returns:
        (B, d).
    """
    lengths = offsets.diff()
    rows = torch.repeat_interleave(lengths).to(states.device)
    sums = states.new_zeros(len(lengths), states.shape[1]).index_add(0, rows, states)
    return sums / lengths.to(states.device).unsqueeze(1)


def flatten_newest(states: Tensor, offsets: Tensor, max_length: int) -> Tensor:
    """Concatenate all states of each history in one row, the newest at its end, zeros before the oldest.

    Args:
        states: (T, d) packed.
        offsets: (B + 1,) on the host.
        max_length: n, no history is longer.

    Returns:
        (B, n d).
    """
    lengths = offsets.diff()
    rows = torch.repeat_interleave(lengths)
    places = torch.arange(len(states)) - offsets[1:][rows] + (rows + 1) * max_length
    flat = states.new_zeros(len(lengths) * max_length, states.shape[1])
    return flat.index_copy(0, places.to(states.device), states).view(
        len(lengths), max_length * states.shape[1]
    )
