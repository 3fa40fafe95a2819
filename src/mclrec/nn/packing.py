"""How packed tokens are laid out for attention: sorted by length, in a few groups, each padded on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mclrec.data.packed import ranges

__all__ = ["Group", "Layout", "layout", "take"]

_SMALLEST = 4
"""Histories up to this length share one group; each further group reaches twice as far."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Histories of like length, which stand side by side in the packed order.

    Attributes:
        start, stop: the group's tokens.
        rows: b, the number of histories.
        longest: L, the longest of them.
        slots: (stop - start,) where each token goes in the padded (b * L) order, at the start of its row.
        lengths: (b,) tokens of each history.
    """

    start: int
    stop: int
    rows: int
    longest: int
    slots: Tensor
    lengths: Tensor

    def pad(self, tokens: Tensor) -> Tensor:
        """(stop - start, c) tokens of this group as (b, L, c), zero where there is none."""
        padded: Tensor = _Scatter.apply(  # type: ignore[no-untyped-call]
            tokens, self.slots, self.rows * self.longest
        )
        return padded.view(self.rows, self.longest, *tokens.shape[1:])

    def unpad(self, padded: Tensor) -> Tensor:
        """(b, L, c) back to (stop - start, c)."""
        return take(padded.flatten(0, 1), self.slots)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where the T tokens of B histories stand inside the encoder.

    Attributes:
        order: (T,) inside place -> place in the packed input.
        inverse: (T,) place in the packed input -> inside place.
        last: (B,) inside place of each history's last token, in the groups' order of histories.
        restore: (B,) place in the groups' order of each history of the input.
        groups: stretches of like length.
    """

    order: Tensor
    inverse: Tensor
    last: Tensor
    restore: Tensor
    groups: tuple[Group, ...]


def layout(offsets: Tensor, device: torch.device) -> Layout:
    """Layout of packed histories, none of them empty; computed on the host from ``offsets`` (B + 1,)."""
    starts, lengths = offsets.numpy()[:-1], np.diff(offsets.numpy())
    by_length = np.argsort(lengths, kind="stable")
    sorted_lengths = lengths[by_length]
    order = ranges(starts[by_length], sorted_lengths)
    ends = np.cumsum(sorted_lengths)
    positions = np.arange(len(order)) - np.repeat(ends - sorted_lengths, sorted_lengths)
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    restore = np.empty_like(by_length)
    restore[by_length] = np.arange(len(by_length))

    def tensor(array: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    groups, row = [], 0
    while row < len(by_length):
        reach = _SMALLEST
        while reach < sorted_lengths[row]:
            reach *= 2
        stop_row = int(np.searchsorted(sorted_lengths, reach, side="right"))
        start, stop = int(ends[row] - sorted_lengths[row]), int(ends[stop_row - 1])
        longest = int(sorted_lengths[stop_row - 1])
        inside = np.repeat(np.arange(stop_row - row), sorted_lengths[row:stop_row])
        slots = inside * longest + positions[start:stop]
        groups.append(
            Group(start, stop, stop_row - row, longest, tensor(slots), tensor(sorted_lengths[row:stop_row]))
        )
        row = stop_row
    return Layout(
        tensor(order),
        tensor(inverse),
        tensor(ends - 1),
        tensor(restore),
        tuple(groups),
    )


def take(rows: Tensor, places: Tensor) -> Tensor:
    """Rows at distinct places: as ``index_select``, whose backward pass would add where a copy will do."""
    taken: Tensor = _Gather.apply(rows, places)  # type: ignore[no-untyped-call]
    return taken


class _Scatter(torch.autograd.Function):
    """Rows to distinct slots of a zero tensor. Its backward pass is a copy; torch's own would add."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, slots: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(slots)
        return tokens.new_zeros(size, *tokens.shape[1:]).index_copy_(0, slots, tokens)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


class _Gather(torch.autograd.Function):
    """Rows at distinct slots: the inverse of `_Scatter`."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(slots)
        ctx.size = padded.shape[0]
        return padded.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        zeros = gradient.new_zeros(ctx.size, *gradient.shape[1:])
        return zeros.index_copy_(0, ctx.saved_tensors[0], gradient), None
