"""What is trained on and what is held out. Training data are a copy that does not hold a held-out item."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mclrec.data.packed import IntArray, Packed, ranges
from mclrec.data.sequences import SequenceData
from mclrec.errors import DataError

__all__ = ["Part", "Split", "Targets", "leave_one_out"]

Part = Literal["validation", "test"]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """M held-out items, each to be ranked from what its user did before it.

    Attributes:
        data: the whole data, held-out items included.
        users: (M,) user rows.
        places: (M,) where the target stands in ``data.items``.
    """

    data: SequenceData
    users: IntArray
    places: IntArray

    def __len__(self) -> int:
        return len(self.users)

    @property
    def items(self) -> IntArray:
        """(M,) the targets' dense ids."""
        return self.data.items[self.places].astype(np.int64)

    def histories(self, rows: IntArray, longest: int | None = None) -> Packed:
        """What the users of ``rows`` did before the target: the last ``longest`` items, or all of them."""
        starts, ends = self.data.offsets[self.users[rows]], self.places[rows]
        if longest is not None:
            starts = np.maximum(starts, ends - longest)
        lengths = ends - starts
        items = self.data.items[ranges(starts, lengths)].astype(np.int64)
        return Packed(items, np.concatenate([[0], np.cumsum(lengths)]))

    def take(self, rows: IntArray) -> Targets:
        """The targets of some rows."""
        return Targets(self.data, self.users[rows], self.places[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Training data, and the targets of validation and test."""

    name: str
    data: SequenceData
    training: SequenceData
    validation: Targets
    test: Targets

    def targets(self, part: Part) -> Targets:
        """Targets of one part."""
        return self.validation if part == "validation" else self.test


def leave_one_out(data: SequenceData) -> Split:
    """Last item of a user is the test target, the last but one the validation target, the rest trains.

    Users with fewer than three interactions only train.

    Raises:
        DataError: no user has three interactions.
    """
    held = np.where(data.lengths >= 3, 2, 0)
    users = np.flatnonzero(held)
    if not len(users):
        raise DataError(
            f"{data.name}: no user has 3 interactions or more, so none can be held out; "
            "use a log with longer histories"
        )
    ends = data.offsets[1:]
    return Split(
        "leave-one-out",
        data,
        _head(data, data.lengths - held),
        Targets(data, users, ends[users] - 2),
        Targets(data, users, ends[users] - 1),
    )


def _head(data: SequenceData, lengths: IntArray) -> SequenceData:
    """The first ``lengths[u]`` interactions of each user, copied."""
    kept = ranges(data.offsets[:-1], lengths)
    return replace(
        data,
        items=data.items[kept],
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        times=None if data.times is None else data.times[kept],
    )
