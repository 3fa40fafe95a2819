"""Repetition: what being in the history already does to an item's score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mclrec.data.batches import to_device
from mclrec.losses.additions import Additions
from mclrec.nn.calibrated import Calibrated

__all__ = ["Chosen", "RepeatBias"]

_UNIT = 10.0
"""What the parameters count in. Never is some -10, which would take an optimiser thousands of steps."""

_WEIGHTS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""What `RepeatBias.calibrate` tries for the weight of a logarithm."""

_FARTHEST, _PATIENCE = 12, 2
"""How far it shifts at most, in steps of 1, and how many steps or weights that gain nothing it tries before it ends."""


class Chosen(NamedTuple):
    """What validation has chosen for the items of a whole history.

    Attributes:
        returns: what each of them gains.
        frequency: weight of the logarithm of how often the item is in the history.
        recency: weight of the logarithm of the share of the history that is as old as the item's newest place or older:
            n of n for the newest item, 1 of n for the oldest.
    """

    returns: float = 0.0
    frequency: float = 0.0
    recency: float = 0.0


class RepeatBias(Calibrated[Chosen]):
    """What the score of an item of the history gains: a learned number for each distance, and more by calibration.

    Whether people come back to an item depends on the log, and on how long ago they had it. From item vectors alone an
    encoder hardly learns it: what is near in a history is near in its vectors, bought again or not. An item that occurs
    several times gains the number of each place. All distances share one further number, which is what those have
    that no training history reaches.

    The numbers are learned apart, from scores that are taken as they are: the encoder trains as if they were not there.
    They make the training targets likely. How much higher lists should have the items of a history is another question,
    which `calibrate` asks of the items that are held out for validation: an encoder is surer of other items than it
    should be, and users come back the more often the longer their histories are. What it chooses goes to each item of
    the whole history, which may be longer than what an encoder reads: see `Chosen`.

    Args:
        max_length: n, the longest history that an encoder reads.
    """

    def __init__(self, max_length: int) -> None:
        super().__init__(Chosen._make, Chosen())
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

    def of_whole(self, items: Tensor, offsets: Tensor) -> Additions:
        """What calibration adds to each item of a history of any length, see `Chosen`."""
        features = self.features(items, offsets)
        return replace(features, values=features.values @ self.coefficients())

    def coefficients(self) -> Tensor:
        """(3,) of returns, frequency and recency; implements `Calibrated.coefficients`."""
        return self.calibrated

    def largest(self) -> Tensor:
        """(3,) the ends of what is tried; implements `Calibrated.largest`."""
        return self.calibrated.new_tensor([_FARTHEST, _WEIGHTS[-1], _WEIGHTS[-1]])

    def features(self, items: Tensor, offsets: Tensor) -> Additions:
        """What `Chosen` weighs of each item of a history, (P, 3); implements `Calibrated.features`.

        The first occurrence of an item has 1, the m-th one ln m - ln(m - 1), and the last one the logarithm of the
        share that is as old or older: there are features for each place, so that nobody has to wait for a device to
        know how many different items there are.

        Args:
            items: (T,) packed histories of any length.
            offsets: (B + 1,) their bounds, on the host.
        """
        lengths = offsets.diff()
        rows = to_device(torch.arange(len(lengths)).repeat_interleave(lengths), items.device)
        if not len(items):
            return Additions(offsets, rows, items, self.by_distance.new_zeros(0, len(Chosen._fields)))
        keys, order = (rows * (items.max() + 1) + items).sort(stable=True)
        places = torch.arange(len(items), device=items.device)
        new = keys[1:] != keys[:-1]
        first, last = F.pad(new, (1, 0), value=True), F.pad(new, (0, 1), value=True)
        number = places - torch.where(first, places, 0).cummax(0).values + 1  # of the occurrence, from 1
        count = number.log() - (number - 1).clamp(min=1).log()
        # What is newer, itself counted: places from it to the end.
        newer = to_device(offsets[1:].repeat_interleave(lengths), items.device) - order
        share = to_device(lengths.repeat_interleave(lengths), items.device) / newer
        columns = torch.stack([first.float(), count, torch.where(last, share.log(), 0)], dim=1)
        return Additions(offsets, rows, items[order], columns)

    def calibrate(self, measure: Callable[[], float]) -> Chosen:
        """Choose what is added to items of the whole history, by what ``measure`` likes best.

        Args:
            measure: a metric of the model as it now is; the higher, the better.

        Returns:
            What was chosen; all 0 where nothing is better than what was learned.
        """
        value = self.asking_once(measure)
        best = _climb(value, Chosen())
        for name in ("frequency", "recency"):
            weights, misses = iter(_WEIGHTS[1:]), 0
            while misses < _PATIENCE and (weight := next(weights, None)) is not None:
                found = _climb(value, best._replace(**{name: weight}))
                if value(best) < value(found):
                    best, misses = found, 0
                else:
                    misses += 1
        self.choose(best)
        return best

    def recalibrate(self, measure: Callable[[], float]) -> None:
        """Move what is added to better values beside what it is, step by step, while that gains.

        Args:
            measure: as `calibrate` takes it, and cheap: it is asked several times a step.
        """
        value, at = self.asking_once(measure), self.chosen
        while value(better := max(_beside(at), key=value)) > value(at):
            at = better
        self.choose(at)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load what was saved, perhaps before there was a weight of recency."""
        key = f"{prefix}calibrated"
        if key in state_dict and state_dict[key].shape == (2,):
            state_dict[key] = F.pad(state_dict[key], (0, 1))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _beside(at: Chosen) -> list[Chosen]:
    """What is one step from a choice."""
    found = [
        at._replace(returns=at.returns + way) for way in (1.0, -1.0) if abs(at.returns + way) <= _FARTHEST
    ]
    for name in ("frequency", "recency"):
        weight = getattr(at, name)
        above = [tried for tried in _WEIGHTS if tried > weight][:1]
        below = [tried for tried in _WEIGHTS if tried < weight][-1:]
        found += [at._replace(**{name: tried}) for tried in above + below]
    return found


def _climb(value: Callable[[Chosen], float], start: Chosen) -> Chosen:
    """The best that is found by shifting from a start by steps of 1, upwards or else downwards."""
    best = start
    for way in (1.0, -1.0):
        misses, at = 0, start._replace(returns=start.returns + way)
        while misses < _PATIENCE and abs(at.returns) <= _FARTHEST:
            if value(best) < value(at):
                best, misses = at, 0
            else:
                misses += 1
            at = at._replace(returns=at.returns + way)
        if best != start:
            break
    return best
