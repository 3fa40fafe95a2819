"""Repetition: what being in the history already does to an item's score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mclrec.data.batches import to_device
from mclrec.losses.additions import Additions

__all__ = ["RepeatBias"]

_UNIT = 10.0
"""What the parameters count in. Never is some -10, which would take an optimiser thousands of steps."""

_FARTHEST, _PATIENCE = 12, 2
"""How far from what was learned `RepeatBias.calibrate` looks, and after how many steps that gain nothing it turns."""


class RepeatBias(nn.Module):
    """A learned number for each distance from the end of a history, added to the score of the item there.

    Whether people come back to an item depends on the log, and on how long ago they had it. From item vectors alone an
    encoder hardly learns it: what is near in a history is near in its vectors, bought again or not. An item that occurs
    several times gains the number of each place. All distances share one further number, which is what those have
    that no training history reaches.

    It is learned apart, from scores that are taken as they are: the encoder trains as if it were not there. The numbers
    learned so make the training targets likely. How much higher lists should have the items of a history is another
    question, and `calibrate` asks it of the items that are held out for validation: an encoder is surer of other items
    than it should be, and users come back the more often the longer their histories are.

    Args:
        max_length: n, the longest history.
    """

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self.common = nn.Parameter(torch.zeros(()))
        self.by_distance = nn.Parameter(torch.zeros(max_length))

    def forward(
        self, items: Tensor, offsets: Tensor, outputs: Literal["last", "all"] = "last", step: int = 1
    ) -> Additions:
        """What is added after whole histories, or after each of their tokens.

        Args:
            items: (T,) packed histories of at most n items, oldest item first.
            offsets: (B + 1,) their bounds, on the host.
            outputs: whether a query stands for a history (``last``) or for each token of it and those before (``all``).
            step: take every so many queries only, from the first on.
        """
        lengths = offsets.diff()
        if outputs == "last":
            starts, counts = offsets[:-1], lengths
        else:
            starts = offsets[:-1].repeat_interleave(lengths)
            counts = torch.arange(1, len(items) + 1) - starts
        starts, counts = starts[::step], counts[::step]
        rows = torch.arange(len(counts)).repeat_interleave(counts)
        ends = counts.cumsum(0)
        distances = (ends[rows] - 1) - torch.arange(len(rows))  # 0 for the newest item
        places = (starts + counts - 1)[rows] - distances
        bounds = F.pad(ends, (1, 0))
        rows, places, distances = (to_device(part, items.device) for part in (rows, places, distances))
        return Additions(
            bounds, rows, items.index_select(0, places), self.values().index_select(0, distances)
        )

    def values(self) -> Tensor:
        """(n,) what is added by distance from the end, first that of the newest item."""
        return _UNIT * (self.common + self.by_distance)

    @torch.no_grad()
    def shift(self, by: float) -> None:
        """Add ``by`` to the number of every distance."""
        self.common.add_(by / _UNIT)

    def calibrate(self, measure: Callable[[], float]) -> float:
        """Shift all numbers by what ``measure`` likes best, upwards or downwards in whole steps.

        Args:
            measure: a metric of the model as it now is; the higher, the better.

        Returns:
            What all numbers were shifted by; 0 where nothing is better than what was learned.
        """
        learned = self.common.detach().clone()
        best, chosen = measure(), 0.0
        for way in (1.0, -1.0):
            for at in range(1, _FARTHEST + 1):
                self._shift_from(learned, way * at)
                if (value := measure()) > best:
                    best, chosen = value, way * at
                elif at >= abs(chosen) + _PATIENCE:
                    break
            if chosen:
                break
        self._shift_from(learned, chosen)
        return chosen

    @torch.no_grad()
    def _shift_from(self, learned: Tensor, by: float) -> None:
        self.common.copy_(learned)
        self.shift(by)
