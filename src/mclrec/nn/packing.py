"""Packed tokens: their layout for attention, and the reduction of token states to one vector for each history.

For attention, whole histories lie side by side in blocks of a few fixed lengths. Attention is then two batched products
over the blocks, in which a token sees the earlier ones of its own history. Blocks are filled with the longest history
that still fits, so that little space is wasted; short histories have blocks of their own, because the number of scores
grows with the length of a block. The number of places is rounded up to one of few values (see `mclrec.shapes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mclrec.data.batches import to_device
from mclrec.data.packed import IntArray
from mclrec.shapes import round_up

__all__ = [
    "ABSENT",
    "Group",
    "Layout",
    "distances_to_last",
    "flatten_newest",
    "last_of_padded",
    "layout",
    "mean_pool",
    "states_in_parts",
    "take",
    "with_padding",
]

_SHORTEST = 16
"""Length of the shortest blocks, for histories up to that length; each longer kind of block is four times as long."""

ABSENT = -2e4
"""Added to the score of a key that a query must not see: its exponential is 0, yet no softmax becomes NaN."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Blocks of one length, one after the other.

    Attributes:
        start, stop: range of their places.
        length: L of each.
        bias: (blocks, L, L) fp32, `ABSENT` where a key (second dimension) is invisible to a query (third): because it
            belongs to another history or, if causal, comes after the query; 0 elsewhere.
        own: (blocks, L, L) fp32, ``bias`` before `with_padding` hides keys because of the tokens that they hold.
    """

    start: int
    stop: int
    length: int
    bias: Tensor
    own: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Layout of the T tokens of B histories inside the encoder, among S >= T places.

    Attributes:
        order: (S,) inside place -> place in the packed input; spare places repeat a token.
        inverse: (T,) place in the packed input -> inside place.
        owners: (S,) inside place -> history; arbitrary in spare places.
        offsets: (B + 1,) where each history starts in the packed input.
        slots: (T,) place of each token of the packed input in the padded (B * n) order.
        last: (B,) inside place of each history's last token.
        max_length: n.
        groups: blocks grouped by length, which cover the first places.
    """

    order: Tensor
    inverse: Tensor
    owners: Tensor
    offsets: Tensor
    slots: Tensor
    last: Tensor
    max_length: int
    groups: tuple[Group, ...]


def layout(offsets: Tensor, device: torch.device, max_length: int, *, causal: bool = True) -> Layout:
    """Lay out packed histories, none of them empty; computed on the host.

    Args:
        offsets: (B + 1,) on the host.
        device: where the layout's tensors go.
        max_length: n, no history is longer.
        causal: whether a query sees no later keys.
    """
    starts, lengths = offsets.numpy()[:-1], np.diff(offsets.numpy())
    firsts, blocks = _fill(lengths, _kinds(max_length))
    places = sum(count * length for length, count in blocks)
    tokens, own = np.arange(lengths.sum()), np.repeat(np.arange(len(lengths)), lengths)
    inverse = tokens + np.repeat(firsts - starts, lengths)
    order = np.zeros(round_up(places, 16), dtype=np.int64)
    order[inverse] = tokens
    owners = np.full(len(order), -1)
    owners[inverse] = own

    def tensor(array: np.ndarray[Any, Any]) -> Tensor:
        return to_device(torch.from_numpy(array), device)

    groups, start = [], 0
    for length, count in blocks:
        stop = start + count * length
        block = owners[start:stop].reshape(count, length)
        seen = block[:, :, None] == block[:, None, :]
        if causal:
            seen &= np.tri(length, dtype=bool).T
        bias = tensor(np.where(seen, np.float32(0), np.float32(ABSENT)))
        groups.append(Group(start, stop, length, bias, own=bias))
        start = stop
    return Layout(
        order=tensor(order),
        inverse=tensor(inverse),
        owners=tensor(owners.clip(min=0)),
        offsets=tensor(offsets.numpy()),
        slots=tensor(tokens + own * max_length - np.repeat(starts, lengths)),
        last=tensor(firsts + lengths - 1),
        max_length=max_length,
        groups=tuple(groups),
    )


def with_padding(plan: Layout, hidden: Tensor) -> Layout:
    """Make a causal layout in which no token sees hidden ones, but one that would see nothing sees all of its history.

    Args:
        plan: a layout that is not causal.
        hidden: (S,) which inside places hold hidden tokens.
    """
    groups = []
    for group in plan.groups:
        together = group.bias == 0
        own = together & torch.ones_like(together[0]).triu()
        seen = own & ~hidden[group.start : group.stop].view(-1, group.length, 1)
        seen |= together & ~seen.any(1, keepdim=True)
        groups.append(replace(group, bias=torch.where(seen, 0.0, ABSENT), own=torch.where(own, 0.0, ABSENT)))
    return replace(plan, groups=tuple(groups))


def _kinds(max_length: int) -> list[int]:
    """Lengths of the kinds of blocks, the longest first."""
    kinds, length = [], _SHORTEST
    while length < max_length:
        kinds.append(length)
        length *= 4
    return [-(-max_length // 8) * 8, *reversed(kinds)]


def _fill(lengths: IntArray, kinds: list[int]) -> tuple[IntArray, list[tuple[int, int]]]:
    """Assign histories to blocks.

    Args:
        lengths: (B,).
        kinds: lengths of blocks in descending order; the first can hold any history.

    Returns:
        (B,) the place where each history starts, and (length, number) of the blocks in the order of places.
    """
    left = np.bincount(lengths, minlength=kinds[0] + 1).tolist()
    filled, starts, blocks, place = [], [], [], 0  # lengths in the order of assignment, and places
    for kind, below in zip(kinds, [*kinds[1:], 0], strict=True):
        first, longest = place, kind
        while True:
            while longest > below and not left[longest]:
                longest -= 1
            if longest <= below:
                break
            room, length = kind, longest
            while length:
                if left[length]:
                    left[length] -= 1
                    filled.append(length)
                    starts.append(place + kind - room)
                    room -= length
                    length = min(length, room)
                else:
                    length -= 1
            place += kind
        if place > first:
            blocks.append((kind, (place - first) // kind))
    # The k-th assigned place for some length belongs to the k-th history of that length.
    firsts = np.empty(len(lengths), dtype=np.int64)
    firsts[np.argsort(lengths, kind="stable")] = np.array(starts)[np.argsort(filled, kind="stable")]
    return firsts, blocks


def take(rows: Tensor, places: Tensor) -> Tensor:
    """Select rows at distinct places, like ``index_select``; the backward pass copies instead of adding."""
    taken: Tensor = _Gather.apply(rows, places)  # type: ignore[no-untyped-call]
    return taken


def distances_to_last(plan: Layout) -> Tensor:
    """How far each token of the packed input (T,) is from the last one of its history."""
    tokens, lengths = len(plan.inverse), plan.offsets.diff()
    last = (plan.offsets[1:] - 1).repeat_interleave(lengths, output_size=tokens)
    return last - torch.arange(tokens, device=last.device)


def last_of_padded(states: Tensor, lengths: Tensor) -> Tensor:
    """Last state (B, d) of each left-aligned history among padded states (B, L, d)."""
    return states.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)


def mean_pool(states: Tensor, offsets: Tensor) -> Tensor:
    """Mean state of each history.

    Args:
        states: (T, d) packed.
        offsets: (B + 1,) on the host, none of the histories empty.

    Returns:
        (B, d).
    """
    lengths = offsets.diff()
    rows = to_device(torch.repeat_interleave(lengths), states.device)
    sums = states.new_zeros(len(lengths), states.shape[1]).index_add(0, rows, states)
    return sums / to_device(lengths, states.device).unsqueeze(1)


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
    return flat.index_copy(0, to_device(places, states.device), states).view(
        len(lengths), max_length * states.shape[1]
    )


def states_in_parts(views: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """All states of each history side by side in one row, newest first, in parts that leave out most of the zeros.

    Rows are reordered, in the same way for all views, by a history's greatest length in any view, the longest first. A
    part holds a range of places, for only those histories that reach it; the inner product of two rows is the sum of
    the inner products of their parts.

    Args:
        views: (T_v, d) packed states of B histories, and (B + 1,) offsets, on the host.

    Returns:
        (views, B_s, n_s d) each, with all B rows in the first part, and no more in a part than in the one before.
    """
    lengths = torch.stack([offsets.diff() for _, offsets in views])
    order = lengths.amax(0).argsort(descending=True, stable=True)
    lengths = lengths[:, order]
    longest, packed = lengths.amax(0), [states for states, _ in views]
    before = torch.tensor([0, *(len(states) for states in packed[:-1])]).cumsum(0)
    newest = torch.stack([offsets[1:][order] for _, offsets in views]) + before.unsqueeze(1) - 1
    zero, size = sum(map(len, packed)), packed[0].shape[1]
    shapes, chosen = [], []
    for start, stop in pairwise(_bounds(int(longest.max()))):
        rows = int((longest > start).sum()) if start else len(order)
        places = torch.arange(start, stop)
        of_rows = newest[:, :rows, None] - places
        chosen.append(of_rows.where(places < lengths[:, :rows, None], zero).flatten())
        shapes.append((len(views), rows, (stop - start) * size))
    # Places are distinct except that of the zeros, which is not a state and needs no gradient.
    rows_of_all = take(
        torch.cat([*packed, packed[0].new_zeros(1, size)]), to_device(torch.cat(chosen), packed[0].device)
    )
    parts = rows_of_all.split([len(places) for places in chosen])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def _bounds(longest: int) -> list[int]:
    """Boundaries of the parts: as most histories are short, so are the first parts."""
    bounds = [0, min(4, longest)]
    while bounds[-1] < longest:
        bounds.append(min(2 * bounds[-1], longest))
    return bounds


class _Gather(torch.autograd.Function):
    """Selects rows at distinct places; the backward pass copies their gradients back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.size = len(rows)
        return rows.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        zeros = gradient.new_zeros(ctx.size, *gradient.shape[1:])
        return zeros.index_copy_(0, ctx.saved_tensors[0], gradient), None
