"""What a log becomes: one sequence of dense item ids a user, in flat arrays, with the outside ids beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray

__all__ = ["OutsideId", "SequenceData", "Vocabulary"]

OutsideId = int | str


class Vocabulary:
    """Outside ids in the order of their dense ids: the id at place ``i`` has the dense id ``i + 1``."""

    def __init__(self, ids: Sequence[OutsideId] | npt.NDArray[np.int64]) -> None:
        self.integers = isinstance(ids, np.ndarray) or all(isinstance(value, int) for value in ids)
        self._ids: list[OutsideId] | npt.NDArray[np.int64] = (
            np.asarray(ids, dtype=np.int64) if self.integers else [str(value) for value in ids]
        )

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, dense: int) -> OutsideId:
        """Outside id of a dense id in 1..V."""
        if not 1 <= dense <= len(self):
            raise IndexError(f"dense id {dense} is not in 1..{len(self)}")
        value = self._ids[dense - 1]
        return int(value) if self.integers else value

    @cached_property
    def _places(self) -> dict[OutsideId, int]:
        values = self._ids.tolist() if isinstance(self._ids, np.ndarray) else self._ids
        return {value: place for place, value in enumerate(values, start=1)}

    def dense(self, outside: OutsideId) -> int:
        """Dense id of an outside id, 0 if unknown. Integers may be given as text."""
        if self.integers and isinstance(outside, str):
            try:
                outside = int(outside)
            except ValueError:
                return 0
        elif not self.integers:
            outside = str(outside)
        return self._places.get(outside, 0)

    def dense_all(self, outside: Iterable[OutsideId]) -> IntArray:
        """Dense ids of many outside ids, 0 where unknown."""
        return np.array([self.dense(value) for value in outside], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class SequenceData:
    """Interactions of U users with V items, user after user, each in order of time.

    Attributes:
        items: (N,) int32 dense item ids, 1..V; may be memory-mapped.
        offsets: (U + 1,) int64; user row ``u`` owns ``items[offsets[u]:offsets[u + 1]]``.
        item_ids: outside ids of the items.
        user_ids: outside ids of the users; user row ``u`` has the dense id ``u + 1``.
        times: (N,) int64 seconds where the log has them.
        name: how reports call this data.
    """

    items: npt.NDArray[np.int32]
    offsets: IntArray
    item_ids: Vocabulary
    user_ids: Vocabulary
    times: IntArray | None = None
    name: str = "data"
    notes: tuple[str, ...] = field(default=())

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.offsets) - 1

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.item_ids)

    @property
    def num_interactions(self) -> int:
        """N."""
        return len(self.items)

    @property
    def lengths(self) -> IntArray:
        """(U,) interactions of each user."""
        return np.diff(self.offsets)

    def sequence(self, user: int) -> npt.NDArray[np.int32]:
        """Dense item ids of user row ``user``, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    @cached_property
    def popularity(self) -> IntArray:
        """(V + 1,) interactions of each dense item id; place 0 is zero."""
        return np.bincount(self.items, minlength=self.num_items + 1).astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over sequences and catalogue size: equal data give equal fingerprints on every engine."""
        digest = hashlib.sha256(f"{self.num_users} {self.num_items} {self.num_interactions}\n".encode())
        digest.update(np.ascontiguousarray(self.offsets, dtype="<i8").data)
        digest.update(np.ascontiguousarray(self.items, dtype="<i4").data)
        return digest.hexdigest()
