"""Errors for logs of which no row is left: what each rule dropped, and which ``--min-count`` would keep some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mclrec.data.intake import Counts, Step
from mclrec.errors import DataError
from mclrec.wording import count_of

__all__ = ["largest_core", "nothing_left"]

Codes = npt.NDArray[np.integer[Any]]


class NothingLeftError(DataError):
    """The k-core of a log is empty; the message ends with the largest ``--min-count`` that keeps some rows."""


def nothing_left(
    place: str, read: Counts, steps: Sequence[Step], min_count: int, most: int
) -> NothingLeftError:
    """The error for a log whose k-core is empty.

    Args:
        place: path or kind of the log.
        read: sizes of what was read.
        steps: rules that were applied, the k-core last.
        min_count: k of the k-core.
        most: the largest k that keeps some rows.
    """
    earlier = [f"{step.option.split(' ')[0]} left {step.left.rows:,}" for step in steps[:-1]]
    before = f"{', '.join(earlier)}, " if earlier else ""
    sizes = f"{count_of(read.rows, 'row')}, {count_of(read.users or 0, 'user')} and {count_of(read.items or 0, 'item')}"
    cure = f"--min-count {most} is the highest that leaves any" if most > 1 else "--min-count 1 keeps all"
    return NothingLeftError(
        f"{place}: nothing is left of {sizes}: {before}--min-count {min_count} none, as it removes users and items "
        f"with fewer rows until there are none; {cure}"
    )


def largest_core(users: Codes, items: Codes, below: int) -> int:
    """The largest k less than ``below`` for which the k-core of the rows is not empty; at least 1."""
    least, most = 1, min(below - 1, _largest(users), _largest(items))
    while least < most:  # the k-core contains the (k + 1)-core
        k = (least + most + 1) // 2
        if _has_core(users, items, k):
            least = k
        else:
            most = k - 1
    return least


def _largest(codes: Codes) -> int:
    """Number of rows of the most frequent code; at least 1."""
    return int(np.bincount(codes).max(initial=1))


def _has_core(users: Codes, items: Codes, k: int) -> bool:
    """Whether the k-core has rows: users and items with fewer than k rows are removed until no such one remains."""
    while len(users):
        kept = (np.bincount(users)[users] >= k) & (np.bincount(items)[items] >= k)
        if kept.all():
            return True
        users, items = users[kept], items[kept]
    return False
