"""Co-occurrence: what others had soon after the items of a history already does to an item's score."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mclrec.data.batches import to_device
from mclrec.data.near_items import KEPT, near_items
from mclrec.data.sequences import SequenceData
from mclrec.losses.additions import Additions
from mclrec.nn.calibrated import Calibrated

__all__ = ["CoOccurrence", "Nearness"]

_DECAYS = (0.8, 0.7, 0.9, 1.0)
"""Factors for each place further back in the history: `CoOccurrence.calibrate` begins with the first, and tries all."""

_FARTHEST = 16.0
"""How many times as large or as small `CoOccurrence.calibrate` makes the weight at most, by steps of 2."""

_MARKS = 1 << 24
"""Marks that are held at a time of which items are in a history."""


class Nearness(NamedTuple):
    """How much what is near the items of a history gains.

    Attributes:
        weight: of the gains, in units of scores.
        decay: what an item of the history counts less than the one after it, at most 1.
    """

    weight: float
    decay: float


class CoOccurrence(Calibrated[Nearness]):
    """What items gain that other histories have near the items of this one: counted in training data, not learned.

    Item j gains, with i_0 the newest item of the history and s(i, j) the similarity of `mclrec.data.near_items`,

        weight * sum over the distances d from the end of decay^d s(i_d, j);

    items of the history gain nothing, whose returns are what `mclrec.nn.repeats` is for. The softmax does not see it:
    counts know the targets that they were counted from, and an encoder would learn to leave those to them. How much
    of it helps depends on the log: on what people do next after one item, or on what they do at all. So `calibrate`
    asks the items that are held out for validation.

    Args:
        num_items: V.
        max_length: n, the longest history.
        weight: of the gains, in units of scores, until validation chooses one.
    """

    near: Tensor
    similarities: Tensor

    def __init__(self, num_items: int, max_length: int, weight: float) -> None:
        # In fp32 a decay of .8 would be another one after loading.
        super().__init__(Nearness._make, Nearness(weight, _DECAYS[0]), torch.float64)
        self.max_length = max_length
        self.register_buffer("near", torch.zeros(num_items + 1, KEPT, dtype=torch.int32))
        self.register_buffer("similarities", torch.zeros(num_items + 1, KEPT))

    def count(self, data: SequenceData) -> None:
        """Count which items are near each other in these histories."""
        found = near_items(data)
        self.near.copy_(torch.from_numpy(found.items))
        self.similarities.copy_(torch.from_numpy(found.similarities))

    def by_distance(self) -> Tensor:
        """(n,) what a similarity counts by distance from the end, first that of the newest item."""
        return self._factors(self.chosen.decay, self.chosen.weight)

    def _factors(self, decay: float, weight: float = 1.0) -> Tensor:
        distances = torch.arange(self.max_length, dtype=torch.float64, device=self.near.device)
        return (weight * decay**distances).float()

    def calibrate(self, measure: Callable[[], npt.NDArray[np.float64]]) -> Nearness:
        """Choose how much is gained by what ``measure`` likes best, if that is no matter of chance.

        Args:
            measure: a metric of each validation target by the model as it now is; the higher, the better.

        Returns:
            What was chosen: what it was, unless the gain is more than one standard error of it.
        """
        values = self.asking_once(measure)

        def value(at: Nearness) -> float:
            return float(values(at).mean())

        start = best = self.chosen
        value(start)
        for decay in _DECAYS:
            best = max(best, _climb(value, best._replace(decay=decay), start.weight), key=value)
        gains = values(best) - values(start)
        if gains.mean() <= gains.std() / max(len(gains) - 1, 1) ** 0.5:
            best = start
        self.choose(best)
        return best

    def forward(self, items: Tensor, offsets: Tensor) -> Additions:
        """What is added after each history: as many numbers as its items have others near them.

        Args:
            items: (T,) packed histories of at most n items, oldest item first.
            offsets: (B + 1,) their bounds, on the host.
        """
        return self._near(items, offsets, self.by_distance().unsqueeze(1))

    def features(self, items: Tensor, offsets: Tensor) -> Additions:
        """Similarities with the factors of each decay that is tried, (P, 4); implements `Calibrated.features`."""
        return self._near(items, offsets, torch.stack([self._factors(decay) for decay in _DECAYS], dim=1))

    def coefficients(self) -> Tensor:
        """(4,) the weight at the decay that is chosen; implements `Calibrated.coefficients`."""
        return self._at(self.chosen)

    def largest(self) -> Tensor:
        """(4,) the largest weight that is tried, at the decay that takes least; implements `Calibrated.largest`."""
        return self._at(Nearness(_FARTHEST * self.chosen.weight, max(_DECAYS)))

    def _at(self, chosen: Nearness) -> Tensor:
        found = self.similarities.new_zeros(len(_DECAYS))
        found[_DECAYS.index(chosen.decay)] = chosen.weight  # of another decay there are no features: an error
        return found

    def _near(self, items: Tensor, offsets: Tensor, factors: Tensor) -> Additions:
        """Similarities (P, F) with the items of each history, times (n, F) factors by their distance from its end.

        How many there are is known without waiting for a device.
        """
        lengths, (base, kept) = offsets.diff(), self.near.shape
        distances = (offsets[1:] - 1).repeat_interleave(lengths) - torch.arange(len(items))
        factors = factors.index_select(0, to_device(distances, items.device))
        near = self.near.index_select(0, items).long()
        similar = self.similarities.index_select(0, items)
        rows = to_device(torch.arange(len(lengths)).repeat_interleave(lengths), items.device)
        size = max(1, _MARKS // base)
        for start in range(0, len(lengths), size):
            stop = min(start + size, len(lengths))
            here = slice(int(offsets[start]), int(offsets[stop]))
            marks = torch.zeros((stop - start) * base, dtype=torch.bool, device=items.device)
            firsts = (rows[here] - start) * base
            marks.index_fill_(0, firsts + items[here], True)
            similar[here].masked_fill_(marks[firsts.unsqueeze(1) + near[here]], 0)
        values = (similar.unsqueeze(2) * factors.unsqueeze(1)).view(-1, factors.shape[1])
        return Additions(offsets * kept, rows.repeat_interleave(kept), near.view(-1), values.squeeze(1))


def _climb(value: Callable[[Nearness], float], start: Nearness, middle: float) -> Nearness:
    """The best that is found by doubling the weight while that gains, or else by halving it."""
    best = start
    for factor in (2.0, 0.5):
        while 1 / _FARTHEST <= best.weight * factor / middle <= _FARTHEST:
            tried = best._replace(weight=best.weight * factor)
            if value(tried) <= value(best):
                break
            best = tried
        if best != start:
            break
    return best
