"""Negative sampling: items outside the user's history for each target, or one set of items for a whole batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mclrec.data.examples import Examples
from mclrec.data.packed import IntArray
from mclrec.data.sequences import SequenceData

__all__ = ["SharedNegatives", "UniformNegatives"]


class SharedNegatives:
    """Draws one set of items for a whole batch, with probabilities proportional to a power of the popularity.

    Users may have interacted with some of them; only the target itself is left out, by the loss.

    Args:
        count: N, the number of items drawn.
        power: exponent of the popularity; 0 is uniform.
    """

    def __init__(self, count: int, power: float) -> None:
        self.count, self.power = count, power
        self._data: SequenceData | None = None
        self._bounds: npt.NDArray[np.float64] = np.empty(0)

    def __call__(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> IntArray:  # noqa: ARG002
        """Draw (N,) ids."""
        if self._data is not examples.data:
            self._data = examples.data
            self._bounds = np.cumsum(np.maximum(examples.data.popularity[1:], 1) ** self.power)
        drawn = rng.random(self.count) * self._bounds[-1]
        places = np.searchsorted(self._bounds, drawn, side="right").astype(np.int64)
        ids: IntArray = np.minimum(places, len(self._bounds) - 1) + 1
        return ids

    def log_counts(self, ids: IntArray) -> npt.NDArray[np.float64]:
        """(N,) logarithm of the expected count of each item in one draw, for the data of the latest call."""
        assert self._data is not None
        weights = np.maximum(self._data.popularity[ids], 1) ** self.power
        logs: npt.NDArray[np.float64] = np.log(self.count * weights / self._bounds[-1])
        return logs


class UniformNegatives:
    """Draws ``per_target`` items for each target of a batch.

    Items that the user has interacted with are redrawn; membership is a binary search in the sorted (user, item)
    pairs. A user who has interacted with the whole catalogue has no negatives, and gets arbitrary items.
    """

    def __init__(self, per_target: int = 1) -> None:
        self.per_target = per_target
        self._data: SequenceData | None = None
        self._pairs: IntArray = np.empty(0, dtype=np.int64)
        self._has_all_items: npt.NDArray[np.bool_] = np.empty(0, dtype=np.bool_)

    def __call__(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw (targets,) ids, or (targets, per_target) if ``per_target`` is more than one."""
        spans = examples.at(rows)
        per_example = spans.lengths if examples.every_position else 1
        users = np.repeat(np.repeat(spans.users, per_example), self.per_target)
        drawn = self.for_users(examples.data, users, rng)
        return drawn if self.per_target == 1 else drawn.reshape(-1, self.per_target)

    def for_users(self, data: SequenceData, users: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw (N,) ids, one for each of N user rows, of items that the user has not interacted with."""
        if self._data is not data:
            self._index(data)
        drawn = rng.integers(1, data.num_items + 1, size=len(users))
        again = np.flatnonzero(self._hits(users, drawn) & ~self._has_all_items[users])
        while len(again):
            drawn[again] = rng.integers(1, data.num_items + 1, size=len(again))
            again = again[self._hits(users[again], drawn[again])]
        return drawn

    def _index(self, data: SequenceData) -> None:
        users = np.repeat(np.arange(data.num_users), data.lengths)
        self._pairs = np.unique(users * (data.num_items + 1) + data.items)
        distinct = np.bincount(self._pairs // (data.num_items + 1), minlength=data.num_users)
        self._has_all_items = distinct >= data.num_items
        self._data = data

    def _hits(self, users: IntArray, items: IntArray) -> npt.NDArray[np.bool_]:
        """Whether each user has interacted with the item beside it."""
        assert self._data is not None
        pairs = users * (self._data.num_items + 1) + items
        places = np.searchsorted(self._pairs, pairs)
        hits: npt.NDArray[np.bool_] = self._pairs[np.minimum(places, len(self._pairs) - 1)] == pairs
        return hits
