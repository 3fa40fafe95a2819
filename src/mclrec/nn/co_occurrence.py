"""Co-occurrence: additions to the scores of items that other users had near the items of a history."""

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
"""Decay factors per place further back in the history; `CoOccurrence.calibrate` tries all, beginning with the first."""

_FARTHEST = 16.0
"""Largest factor by which `CoOccurrence.calibrate` multiplies or divides the weight, in steps of 2."""

_MARKS = 1 << 24
"""Most marks held at a time, which tell the items that are in a history."""


class Nearness(NamedTuple):
    """How much the scores of items near those of a history gain.

    Attributes:
        weight: of the gains, in units of scores.
        decay: factor by which an item of the history counts less than the one after it, at most 1.
    """

    weight: float
    decay: float


class CoOccurrence(Calibrated[Nearness]):
    """Gains of items that other histories have near the items of this one: counted in training data, not learned.

    Item j gains, with i_0 the newest item of the history and s(i, j) the similarity of `mclrec.data.near_items`,

        weight * sum over the distances d from the end of decay^d s(i_d, j);

    items of the history gain nothing; their returns are handled by `mclrec.nn.repeats`. The gains are left out of the
    training loss: the counts contain the training targets, and an encoder would learn to leave those to the counts.
    The best weight and decay depend on the log: on whether the next item depends on the latest one or on the whole
    history. `calibrate` therefore chooses them on the items held out for validation.

    Args:
        num_items: V.
        max_length: n, the longest history.
        weight: of the gains, in units of scores, until validation chooses one.
    """

    near: Tensor
    similarities: Tensor

    def __init__(self, num_items: int, max_length: int, weight: float) -> None:
        # In fp32, a decay of .8 would be a different number after loading.
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
        """(n,) factor of a similarity by distance from the end, starting with that of the newest item."""
        return self._decay_factors(self.chosen.decay, self.chosen.weight)

    def _decay_factors(self, decay: float, weight: float = 1.0) -> Tensor:
        distances = torch.arange(self.max_length, dtype=torch.float64, device=self.near.device)
        return (weight * decay**distances).float()

    def calibrate(self, measure: Callable[[], npt.NDArray[np.float64]]) -> Nearness:
        """Choose the weight and decay with the best ``measure``, if the improvement is unlikely to be chance.

        Args:
            measure: a metric of each validation target under the current choice; higher is better.

        Returns:
            The choice: unchanged unless the mean improvement exceeds its standard error.
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
        """Additions for each history: one for each item near each of its items.

        Args:
            items: (T,) packed histories of at most n items, oldest item first.
            offsets: (B + 1,) their bounds, on the host.
        """
        return self._weighted_similarities(items, offsets, self.by_distance().unsqueeze(1))

    def features(self, items: Tensor, offsets: Tensor) -> Additions:
        """Similarities times the factors of each decay that is tried, (P, 4); implements `Calibrated.features`."""
        return self._weighted_similarities(
            items, offsets, torch.stack([self._decay_factors(decay) for decay in _DECAYS], dim=1)
        )

    def coefficients(self) -> Tensor:
        """(4,) the chosen weight at the chosen decay, 0 elsewhere; implements `Calibrated.coefficients`."""
        return self._at(self.chosen)

    def largest(self) -> Tensor:
        """(4,) the largest weight that is tried, at the slowest decay; implements `Calibrated.largest`."""
        return self._at(Nearness(_FARTHEST * self.chosen.weight, max(_DECAYS)))

    def _at(self, chosen: Nearness) -> Tensor:
        found = self.similarities.new_zeros(len(_DECAYS))
        found[_DECAYS.index(chosen.decay)] = chosen.weight  # other decays have no features: an error
        return found

    def _weighted_similarities(self, items: Tensor, offsets: Tensor, factors: Tensor) -> Additions:
        """Similarities (P, F) with the items of each history, times (n, F) factors of their distances from its end.

        The number of additions is known without waiting for the device.
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
    """The best choice found by doubling the weight as long as that helps, or otherwise by halving it."""
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
