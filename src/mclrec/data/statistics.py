"""Statistics of data sets, as in tables 2 and 5 of the paper, and selection of users by sequence length."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray, ranges
from mclrec.data.sequences import SequenceData
from mclrec.errors import DataError

__all__ = ["GROUPS", "Sizes", "of_length", "table2", "table5", "users_of_length"]

GROUPS: tuple[tuple[str, int, int | None], ...] = (("=5", 5, 5), ("6-8", 6, 8), (">8", 9, None))
"""Table 5's groups of users by sequence length: label, shortest, longest."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Statistics of a data set, or of a group of its users.

    Attributes:
        name: name of the data set or group.
        users: number of users.
        items: the highest dense id that occurs, which table 5 reports as #items and uses for its sparsity.
        distinct_items: number of items that occur.
        actions: number of interactions.
    """

    name: str
    users: int
    items: int
    distinct_items: int
    actions: int

    @property
    def average_length(self) -> float:
        """Mean number of interactions per user; 0 without users."""
        return self.actions / self.users if self.users else 0.0

    @property
    def sparsity(self) -> float:
        """Share of empty cells in the user-item matrix; a repeated interaction counts as a further cell."""
        return 1 - self.actions / (self.users * self.items) if self.users else 1.0


def table2(data: SequenceData) -> Sizes:
    """The data set's row of table 2."""
    return _sizes(data.name, data.num_users, data.items)


def table5(data: SequenceData) -> list[Sizes]:
    """Columns of table 5: users with 5, 6 to 8, and more than 8 interactions."""
    return [_group(data, *group) for group in GROUPS]


def users_of_length(data: SequenceData, shortest: int, longest: int | None = None) -> IntArray:
    """Rows of the users with ``shortest`` to ``longest`` interactions (no limit if None)."""
    return np.flatnonzero((data.lengths >= shortest) & (longest is None or data.lengths <= longest))


def of_length(data: SequenceData, shortest: int, longest: int | None = None) -> SequenceData:
    """Select the users with ``shortest`` to ``longest`` interactions; the catalogue is unchanged.

    Raises:
        DataError: there are no such users.
    """
    lengths, chosen = data.lengths, users_of_length(data, shortest, longest)
    label = f"{shortest}-{'' if longest is None else longest}"
    if not len(chosen):
        raise DataError(f"{data.name}: no user has {label} interactions")
    places = ranges(data.offsets[chosen], lengths[chosen])
    return replace(
        data,
        items=data.items[places],
        offsets=np.concatenate([[0], np.cumsum(lengths[chosen])]),
        user_ids=data.user_ids.take(chosen),
        times=None if data.times is None else data.times[places],
        cuts=None if data.cuts is None else data.cuts[:, chosen],
        name=f"{data.name}-{label}",
    )


def _group(data: SequenceData, label: str, shortest: int, longest: int | None) -> Sizes:
    try:
        group = of_length(data, shortest, longest)
    except DataError:
        return Sizes(label, 0, 0, 0, 0)
    return _sizes(label, group.num_users, group.items)


def _sizes(name: str, users: int, items: npt.NDArray[np.int32]) -> Sizes:
    return Sizes(name, users, int(items.max(initial=0)), len(np.unique(items)), len(items))
