"""Histories that belong together because the same item follows them."""

from __future__ import annotations

import numpy as np

from mclrec.data.examples import Examples, prefixes
from mclrec.data.packed import IntArray, Packed
from mclrec.data.sequences import SequenceData

__all__ = ["SameTarget"]


class SameTarget:
    """Draws, for each example of a batch, another training prefix that is followed by the example's last target.

    Any user's prefix may be drawn, the same user's too, but never the example's own; where no other item of the
    training data is preceded by anything, the own prefix is all there is.

    Args:
        max_length: n, the longest history.
    """

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length
        self._data: SequenceData | None = None

    def __call__(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Packed:
        """B histories."""
        if self._data is not examples.data:
            self._index(examples.data)
        return self._prefixes.inputs(self.draw(examples.at(rows).ends, rng))

    def draw(self, ends: IntArray, rng: np.random.Generator) -> IntArray:
        """(B,) rows of all prefixes, for targets that stand at ``ends`` in the training data."""
        own, targets = self._row_of[ends], self._prefixes.data.items[ends]
        first, others = self._bounds[targets], self._bounds[targets + 1] - self._bounds[targets] - 1
        drawn = rng.integers(0, np.maximum(others, 1))
        drawn += drawn >= self._number[own]  # step over the own one
        return np.where(others > 0, self._by_target[first + np.minimum(drawn, others)], own)

    def _index(self, data: SequenceData) -> None:
        self._prefixes = prefixes(data, self._max_length)
        ends = self._prefixes.at(np.arange(len(self._prefixes))).ends
        targets = data.items[ends]
        self._by_target = np.argsort(targets, kind="stable")
        self._bounds = np.concatenate([[0], np.cumsum(np.bincount(targets, minlength=data.num_items + 1))])
        self._number = np.empty_like(self._by_target)  # of each prefix among those with its target
        self._number[self._by_target] = np.arange(len(targets)) - self._bounds[targets[self._by_target]]
        self._row_of = np.full(len(data.items), -1)
        self._row_of[ends] = np.arange(len(targets))
        self._data = data
