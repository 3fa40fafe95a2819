"""Co-occurrence: what others had near the items of a history already does to an item's score."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mclrec.data.batches import to_device
from mclrec.data.near_items import KEPT, near_items
from mclrec.data.sequences import SequenceData
from mclrec.losses.additions import Additions

__all__ = ["CoOccurrence"]

_DECAY = 0.8
"""What an item of the history counts less than the one after it."""

_MARKS = 1 << 24
"""Marks that are held at a time of which items are in a history."""


class CoOccurrence(nn.Module):
    """What items gain that other histories have near the items of this one: counted in training data, not learned.

    Item j gains, with i_0 the newest item of the history and s(i, j) the similarity of `mclrec.data.near_items`,

        weight * sum over the distances d from the end of 0.8^d s(i_d, j);

    items of the history gain nothing, whose returns are what `mclrec.nn.repeats` is for. The softmax does not see it:
    counts know the targets that they were counted from, and an encoder would learn to leave those to them.

    Args:
        num_items: V.
        max_length: n, the longest history.
        weight: of the gains, in units of scores.
    """

    near: Tensor
    similarities: Tensor

    def __init__(self, num_items: int, max_length: int, weight: float) -> None:
        super().__init__()
        self.max_length, self.weight = max_length, weight
        self.register_buffer("near", torch.zeros(num_items + 1, KEPT, dtype=torch.int32))
        self.register_buffer("similarities", torch.zeros(num_items + 1, KEPT))

    def count(self, data: SequenceData) -> None:
        """Count which items are near each other in these histories."""
        found = near_items(data)
        self.near.copy_(torch.from_numpy(found.items))
        self.similarities.copy_(torch.from_numpy(found.similarities))

    def by_distance(self) -> Tensor:
        """(n,) what a similarity counts by distance from the end, first that of the newest item."""
        distances = torch.arange(self.max_length, dtype=torch.float64, device=self.near.device)
        return (self.weight * _DECAY**distances).float()

    def forward(self, items: Tensor, offsets: Tensor) -> Additions:
        """What is added after each history: as many numbers as its items have others near them.

        How many there are is known without waiting for a device.

        Args:
            items: (T,) packed histories of at most n items, oldest item first.
            offsets: (B + 1,) their bounds, on the host.
        """
        lengths, (base, kept) = offsets.diff(), self.near.shape
        distances = (offsets[1:] - 1).repeat_interleave(lengths) - torch.arange(len(items))
        factors = self.by_distance().index_select(0, to_device(distances, items.device))
        values = self.similarities.index_select(0, items).mul_(factors.unsqueeze(1))
        near = self.near.index_select(0, items).long()
        rows = to_device(torch.arange(len(lengths)).repeat_interleave(lengths), items.device)
        size = max(1, _MARKS // base)
        for start in range(0, len(lengths), size):
            stop = min(start + size, len(lengths))
            here = slice(int(offsets[start]), int(offsets[stop]))
            marks = torch.zeros((stop - start) * base, dtype=torch.bool, device=items.device)
            firsts = (rows[here] - start) * base
            marks.index_fill_(0, firsts + items[here], True)
            values[here].masked_fill_(marks[firsts.unsqueeze(1) + near[here]], 0)
        return Additions(offsets * kept, rows.repeat_interleave(kept), near.view(-1), values.view(-1))
