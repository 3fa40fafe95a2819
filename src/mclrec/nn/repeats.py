"""Repetition: additions to the scores of items that are in the history already."""

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
"""Unit of the parameters: about -10 rules an item out, which would take an optimiser thousands of steps to reach."""

_WEIGHTS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Weights of a logarithm that `RepeatBias.calibrate` tries."""

_FARTHEST, _PATIENCE = 12, 2
"""Largest shift that it tries, in steps of 1, and the number of steps or weights without gain after which it stops."""


class Chosen(NamedTuple):
    """Numbers that validation has chosen for the items of a whole history.

    Attributes:
        returns: gain of each of these items.
        frequency: weight of the logarithm of how often the item is in the history.
        recency: weight of -ln of the share of the history that is as new as the item's newest place or newer: 1 of n
            for the newest item, n of n for the oldest.
    """

    returns: float = 0.0
    frequency: float = 0.0
    recency: float = 0.0


class RepeatBias(Calibrated[Chosen]):
    """Gains of the items of the history: a learned number for each distance from the end, and more by calibration.

    Whether people come back to an item depends on the log, and on how long ago they had it. An encoder hardly learns
    this from item vectors alone: items that are near each other in histories get similar vectors, bought again or not.
    An item that occurs several times gains the numbers of all its places. All distances share one further number, which
    is all that distances have that no training history reaches.

    The numbers are learned from detached scores: the encoder trains as if they did not exist. They make the training
    targets likely. How much higher lists should rank the items of a history is another question, which `calibrate`
    answers on the items held out for validation: an encoder is overconfident about other items, and users with longer
    histories come back more often. Its choice applies to each item of the whole history, which may be longer than what
    an encoder reads: see `Chosen`.

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
        """Learned additions for whole histories, or for each of their prefixes.

        Args:
            items: (T,) packed histories of at most n items, oldest item first.
            offsets: (B + 1,) their bounds, on the host.
            outputs: whether there is one query per history (``last``) or one per token, with those before it (``all``).
            step: keep only every ``step``-th query, starting with the first.
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
        """(n,) learned addition by distance from the end, starting with that of the newest item."""
        return _UNIT * (self.common + self.by_distance)

    def of_whole(self, items: Tensor, offsets: Tensor) -> Additions:
        """Calibrated additions to each item of a history of any length; see `Chosen`."""
        features = self.features(items, offsets)
        return replace(features, values=features.values @ self.coefficients())

    def coefficients(self) -> Tensor:
        """(3,) returns, frequency and recency; implements `Calibrated.coefficients`."""
        return self.calibrated

    def largest(self) -> Tensor:
        """(3,) the largest values that are tried; implements `Calibrated.largest`."""
        return self.calibrated.new_tensor([_FARTHEST, _WEIGHTS[-1], _WEIGHTS[-1]])

    def features(self, items: Tensor, offsets: Tensor) -> Additions:
        """Features of each item of a history that `Chosen` weighs, (P, 3); implements `Calibrated.features`.

        They sum up over occurrences: the first has 1, the m-th ln m - ln(m - 1), and the last -ln of the share of the
        history that is as new or newer. Each place has its own features, so that the host need not wait for the device
        to know the number of distinct items.

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
        # Places from the item to the end, its own included.
        newer = to_device(offsets[1:].repeat_interleave(lengths), items.device) - order
        share = to_device(lengths.repeat_interleave(lengths), items.device) / newer
        columns = torch.stack([first.float(), count, torch.where(last, share.log(), 0)], dim=1)
        return Additions(offsets, rows, items[order], columns)

    def calibrate(self, measure: Callable[[], float]) -> Chosen:
        """Choose what is added to items of the whole history: the choice with the best ``measure`` that is found.

        Args:
            measure: a metric of the model under the current choice; higher is better.

        Returns:
            The choice; all 0 if nothing improves on the learned numbers.
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
        """Move the choice to better neighbouring values, step by step, as long as that helps.

        Args:
            measure: as for `calibrate`, but cheap: it is called several times per step.
        """
        value, at = self.asking_once(measure), self.chosen
        while value(better := max(_beside(at), key=value)) > value(at):
            at = better
        self.choose(at)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load saved weights, perhaps from before there was a weight of recency."""
        key = f"{prefix}calibrated"
        if key in state_dict and state_dict[key].shape == (2,):
            state_dict[key] = F.pad(state_dict[key], (0, 1))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _beside(at: Chosen) -> list[Chosen]:
    """All choices that are one step from a given one."""
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
    """The best choice found by shifting ``returns`` from a start in steps of 1, upwards or otherwise downwards."""
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
