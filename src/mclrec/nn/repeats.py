"""Repetition: what being in the history already does to an item's score."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mclrec.data.batches import to_device
from mclrec.losses.additions import Additions

__all__ = ["RepeatBias"]

_UNIT = 10.0
"""What the parameters count in. Never is some -10, which would take an optimiser thousands of steps."""

_FREQUENCIES = (0.0, 1.0, 2.0, 4.0)
"""What `RepeatBias.calibrate` tries for the weight of the logarithm of the count, until one gains nothing."""

_FARTHEST, _PATIENCE = 12, 2
"""How far it shifts at most, in steps of 1, and after how many steps that gain nothing it turns back."""


class RepeatBias(nn.Module):
    """What the score of an item of the history gains: a learned number for each distance, and more by calibration.

    Whether people come back to an item depends on the log, and on how long ago they had it. From item vectors alone an
    encoder hardly learns it: what is near in a history is near in its vectors, bought again or not. An item that occurs
    several times gains the number of each place. All distances share one further number, which is what those have
    that no training history reaches.

    The numbers are learned apart, from scores that are taken as they are: the encoder trains as if they were not there.
    They make the training targets likely. How much higher lists should have the items of a history is another question,
    which `calibrate` asks of the items that are held out for validation: an encoder is surer of other items than it
    should be, and users come back the more often the longer their histories are. What it chooses goes to each item of
    the whole history, which may be longer than what an encoder reads: a shift, and a weight times the logarithm of how
    often the item is there.

    Args:
        max_length: n, the longest history that an encoder reads.
    """

    calibrated: Tensor

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self.common = nn.Parameter(torch.zeros(()))
        self.by_distance = nn.Parameter(torch.zeros(max_length))
        self.register_buffer("calibrated", torch.zeros(2))
        self.chosen = (0.0, 0.0)
        """What is in ``calibrated``, on the host: the shift, and the weight of the logarithm of the count."""

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

    def choose(self, shift: float, weight: float) -> None:
        """Set what items of the whole history gain."""
        self.calibrated.copy_(torch.tensor([shift, weight]))
        self.chosen = (shift, weight)

    def of_whole(self, items: Tensor, offsets: Tensor) -> Additions:
        """What calibration adds: shift + weight * ln(count) to each item of a history.

        The first occurrence of an item adds the shift, the m-th one weight * (ln m - ln(m - 1)): there is an addition
        for each place, so that nobody has to wait for a device to know how many different items there are.

        Args:
            items: (T,) packed histories of any length.
            offsets: (B + 1,) their bounds, on the host.
        """
        rows = to_device(torch.arange(len(offsets) - 1).repeat_interleave(offsets.diff()), items.device)
        if not len(items):
            return Additions(offsets, rows, items, torch.zeros(0, device=items.device))
        keys, order = (rows * (items.max() + 1) + items).sort(stable=True)
        places = torch.arange(len(items), device=items.device)
        first = F.pad(keys[1:] != keys[:-1], (1, 0), value=True)
        number = places - torch.where(first, places, 0).cummax(0).values + 1  # of the occurrence, from 1
        shift, weight = self.chosen
        further = weight * (number.log() - (number - 1).clamp(min=1).log())
        return Additions(offsets, rows, items[order], further.masked_fill(first, shift))

    def calibrate(self, measure: Callable[[], float]) -> tuple[float, float]:
        """Choose what is added to items of the whole history, by what ``measure`` likes best.

        Args:
            measure: a metric of the model as it now is; the higher, the better.

        Returns:
            The shift and the weight; both 0 where nothing is better than what was learned.
        """

        def value(shift: float, weight: float) -> float:
            self.choose(shift, weight)
            return measure()

        best, shift, weight = value(0.0, 0.0), 0.0, 0.0
        for tried in _FREQUENCIES:
            found, at = _climb(partial(value, weight=tried), shift)
            if found > best:
                best, shift, weight = found, at, tried
            elif tried:
                break
        self.choose(shift, weight)
        return shift, weight

    def recalibrate(self, measure: Callable[[], float]) -> None:
        """Move what is added to better values beside what it is, step by step, while that gains.

        Args:
            measure: as `calibrate` takes it, and cheap: it is asked several times a step.
        """
        known: dict[tuple[float, float], float] = {}

        def value(at: tuple[float, float]) -> float:
            if at not in known:
                self.choose(*at)
                known[at] = measure()
            return known[at]

        at = self.chosen
        while value(better := max(_beside(*at), key=value)) > value(at):
            at = better
        self.choose(*at)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load what was saved; models that were saved before there was a calibration have none."""
        state_dict.setdefault(f"{prefix}calibrated", torch.zeros_like(self.calibrated))
        super()._load_from_state_dict(state_dict, prefix, *args)
        # Unchanged where what was saved has another shape, which is an error of the file.
        shift, weight = self.calibrated.tolist()
        self.chosen = (shift, weight)


def _beside(shift: float, weight: float) -> list[tuple[float, float]]:
    """What is one step from a shift and a weight."""
    shifts = [(shift + way, weight) for way in (1.0, -1.0) if abs(shift + way) <= _FARTHEST]
    above = [tried for tried in _FREQUENCIES if tried > weight][:1]
    below = [tried for tried in _FREQUENCIES if tried < weight][-1:]
    return [*shifts, *((shift, tried) for tried in above + below)]


def _climb(value: Callable[[float], float], start: float) -> tuple[float, float]:
    """The highest value that is found by steps of 1 from a start, upwards or else downwards, and where."""
    best, chosen = value(start), start
    for way in (1.0, -1.0):
        misses, at = 0, start + way
        while misses < _PATIENCE and abs(at) <= _FARTHEST:
            if (found := value(at)) > best:
                best, chosen, misses = found, at, 0
            else:
                misses += 1
            at += way
        if chosen != start:
            break
    return best, chosen
