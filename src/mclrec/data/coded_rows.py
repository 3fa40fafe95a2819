"""Rows of a log with users and items as integer codes: the form in which preparation filters them."""

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
    """A log with users and items as codes from 0, ordered by user and then by time.

    Attributes:
        users: (N,) indices into ``user_ids``.
        items: (N,) indices into ``item_ids``.
        times: (N,) in ticks, or None.
        parts: (N,) part that each row of a log in several files belongs to, ascending within a user; None for one log.
        tie_order: what orders rows of a user with equal times; None without times.
        user_ids: all users of the log, including those whose rows were removed.
        item_ids: all items of the log, likewise.
        dates: format of numbers that were read as dates, such as ``YYYYMMDD``; None if times were no such numbers.
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
        """Numbers of rows, and of the users and items that occur in them."""
        users, items = counted(self.users, len(self.user_ids)), counted(self.items, len(self.item_ids))
        return Counts(
            users=int(np.count_nonzero(users)), items=int(np.count_nonzero(items)), rows=len(self.items)
        )

    def take(self, kept: npt.NDArray[np.bool_]) -> CodedRows:
        """The rows that a mask selects."""
        return replace(
            self,
            users=selected(self.users, kept),
            items=selected(self.items, kept),
            times=None if self.times is None else selected(self.times, kept),
            parts=None if self.parts is None else selected(self.parts, kept),
        )
