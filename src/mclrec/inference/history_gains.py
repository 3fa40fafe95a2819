"""Additions to the scores query . item + bias due to the items of the history, in NumPy: repetition, co-occurrence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mclrec.data.near_items import NearItems
from mclrec.data.packed import IntArray
from mclrec.inference.arrays import mapped
from mclrec.inference.queries import NO_ITEMS, DenseQuery
from mclrec.inference.top_k import FloatArray

__all__ = ["FURTHER_FORMATS", "Gains", "HistoryGains", "NearGains"]

FURTHER_FORMATS = _WITH_REPEATS, _WITH_NEAR, _WITH_COUNTS, _WITH_WHOLE = 4, 5, 6, 7
"""Formats of exports with files that an older reader would ignore: repeats; then also near items; also counts over
whole histories (no longer written without recency); and also recency."""

_REPEATS, _WHOLE, _NEAR, _SIMILARITIES, _BY_DISTANCE = (
    "repeats.npy",
    "whole.npy",
    "near.npy",
    "similarities.npy",
    "by_distance.npy",
)


@dataclass(frozen=True, slots=True, eq=False)
class Gains:
    """Sparse additions to the scores of several queries.

    Attributes:
        rows: (P,) index of the query of each addition.
        items: (P,) dense ids; an item may occur several times in a row.
        values: (P,) fp32.
    """

    rows: IntArray
    items: IntArray
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class NearGains:
    """Additions by co-occurrence, as in `mclrec.nn.co_occurrence`.

    Attributes:
        near: the nearest items of each item.
        by_distance: (n,) fp32, factors of similarities by distance from the end, the newest item's first.
    """

    near: NearItems
    by_distance: FloatArray

    def of(self, queries: Sequence[DenseQuery]) -> Gains:
        """Additions to the items near those of each query's history, summed per item; items of the history gain 0."""
        histories = [query.history[-len(self.by_distance) :] for query in queries]
        base = len(self.near.items)
        rows = np.repeat(np.arange(len(queries)), [len(history) for history in histories])
        items = np.concatenate(histories)
        factors = np.concatenate([self.by_distance[: len(history)][::-1] for history in histories])
        keys = rows[:, None] * base + self.near.items[items]
        gains = self.near.similarities[items].astype(np.float64) * factors[:, None]
        sums = np.bincount(keys.ravel(), weights=gains.ravel(), minlength=len(queries) * base)
        sums[rows * base + items] = 0
        sums = sums.reshape(len(queries), base)
        sums[:, 0] = 0
        found, gaining = np.nonzero(sums)
        return Gains(found, gaining, sums[found, gaining].astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class HistoryGains:
    """Additions to scores due to the items of the history.

    Attributes:
        repeats: (n,) fp32, added to the score of an item of the history by its distance from the end, the newest
            item's first; None for nothing.
        whole: (3,) fp32 a, b, c: each item of a whole history of n also gains a + b ln(count) + c ln(n / m), where it
            occurs ``count`` times, most recently in the m-th place from the end; None for nothing.
        near: additions to items near those of the history; None for nothing.
    """

    repeats: FloatArray | None = None
    whole: FloatArray | None = None
    near: NearGains | None = None

    @classmethod
    def read(cls, directory: Path, files: Collection[str]) -> HistoryGains:
        """Memory-map those of an export's files that hold additions.

        Raises:
            ModelFileError: a file is damaged.
        """
        repeats, whole = (mapped(directory / name) if name in files else None for name in (_REPEATS, _WHOLE))
        if whole is not None and len(whole) == 2:  # of an export without recency
            whole = np.append(whole, np.float32(0))
        if _NEAR not in files:
            return cls(repeats, whole)
        near, similarities, by_distance = (
            mapped(directory / name) for name in (_NEAR, _SIMILARITIES, _BY_DISTANCE)
        )
        return cls(repeats, whole, NearGains(NearItems(near, similarities), by_distance))

    def write(self, folder: Path) -> None:
        """Write the additions as files of an export."""
        files: dict[str, npt.NDArray[Any]] = {} if self.repeats is None else {_REPEATS: self.repeats}
        if self.whole is not None:
            files[_WHOLE] = self.whole
        if self.near is not None:
            near = self.near.near
            files |= {
                _NEAR: near.items,
                _SIMILARITIES: near.similarities,
                _BY_DISTANCE: self.near.by_distance,
            }
        for name, array in files.items():
            np.save(folder / name, array, allow_pickle=False)

    @property
    def format(self) -> int | None:
        """The format of an export with these additions; None without any, for the basic format."""
        if self.whole is not None:
            return _WITH_WHOLE
        if self.near is not None:
            return _WITH_NEAR
        return None if self.repeats is None else _WITH_REPEATS

    def change(self, query: DenseQuery) -> bool:
        """Whether an item that the query may list gains anything.

        Items of the history are listed only if the query includes them.
        """
        listed = self.near is not None or (self.repeats is not None and query.include_seen)
        return listed and len(query.history) > 0

    def of(self, queries: Sequence[DenseQuery]) -> Gains | None:
        """Additions to the scores of the queries; None for nothing."""
        parts = [self._repeated(queries)] if self.repeats is not None else []
        if self.whole is not None:
            parts.append(self._whole_history_gains(queries))
        if self.near is not None:
            parts.append(self.near.of(queries))
        if len(parts) < 2:
            return parts[0] if parts else None
        return Gains(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.items for part in parts]),
            np.concatenate([part.values for part in parts]),
        )

    def _repeated(self, queries: Sequence[DenseQuery]) -> Gains:
        """Additions by distance from the end to the items of those histories that may be listed."""
        assert self.repeats is not None
        lists = [query.history[-len(self.repeats) :] if query.include_seen else NO_ITEMS for query in queries]
        rows = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
        values = np.concatenate([self.repeats[: len(items)][::-1] for items in lists])
        return Gains(rows, np.concatenate(lists), values)

    def _whole_history_gains(self, queries: Sequence[DenseQuery]) -> Gains:
        """Additions by count and recency to each item of those whole histories that may be listed."""
        assert self.whole is not None
        shift, frequency, recency = self.whole
        lists = [query.history if query.include_seen else NO_ITEMS for query in queries]
        # Reversed, so that the first index of an item is that of its newest occurrence.
        counted = [np.unique(items[::-1], return_index=True, return_counts=True) for items in lists]
        sizes = [len(items) for items, _, _ in counted]
        counts, newer = (
            np.concatenate([found[part] for found in counted]).astype(np.float32) for part in (2, 1)
        )
        shares = np.repeat([np.float32(len(items)) for items in lists], sizes) / (newer + 1)
        values = shift + frequency * np.log(counts) + recency * np.log(shares)
        return Gains(
            np.repeat(np.arange(len(lists)), sizes), np.concatenate([found[0] for found in counted]), values
        )
