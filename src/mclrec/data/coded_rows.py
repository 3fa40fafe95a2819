"""Rows of a log in codes, as preparation works on them before they become sequences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mclrec.data.intake import Counts
from mclrec.data.packed import counted, selected
from mclrec.data.vocabulary import Vocabulary

__all__ = ["CodedRows", "Codes"]

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class CodedRows:
    """The log in codes from 0, ordered by user and then in time.

    Attributes:
        users: (N,) places in ``user_ids``.
        items: (N,) places in ``item_ids``.
        times: (N,) in ticks, or None.
        parts: (N,) of a log in several files, where each row belongs, in order within a user; None for one log.
        tie_order: what orders rows of a user at one time; None without times.
        user_ids: all users of the log, also those whose rows were removed.
        item_ids: all items of the log, in the same way.
        dates: the form of numbers that were read as dates; None where times were none.
    """

    users: Codes
    items: Codes
    times: npt.NDArray[Any] | None
    parts: npt.NDArray[np.int8] | None
    tie_order: str | None
    user_ids: Vocabulary
    item_ids: Vocabulary
    dates: str | None = None

    @property
    def counts(self) -> Counts:
        """Sizes, users and items without rows left out."""
        users, items = counted(self.users, len(self.user_ids)), counted(self.items, len(self.item_ids))
        return Counts(
            users=int(np.count_nonzero(users)), items=int(np.count_nonzero(items)), rows=len(self.items)
        )

    def take(self, kept: npt.NDArray[np.bool_]) -> CodedRows:
        """Some of the rows, by mask."""
        return replace(
            self,
            users=selected(self.users, kept),
            items=selected(self.items, kept),
            times=None if self.times is None else selected(self.times, kept),
            parts=None if self.parts is None else selected(self.parts, kept),
        )
