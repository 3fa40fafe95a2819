"""Logs of which nothing is left: what each rule dropped, and which value of ``--min-count`` would help."""

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
    """A log of which the k-core leaves nothing; the message ends with the value of ``--min-count`` that helps."""


def nothing_left(
    place: str, read: Counts, steps: Sequence[Step], min_count: int, most: int
) -> NothingLeftError:
    """The error for a log of which the k-core leaves nothing.

    Args:
        place: of the log.
        read: sizes of what was read.
        steps: rules that were applied, the k-core last.
        min_count: of the k-core.
        most: the largest one that leaves something.
    """
    earlier = [f"{step.option.split(' ')[0]} left {step.left.rows:,}" for step in steps[:-1]]
    before = f"{', '.join(earlier)}, " if earlier else ""
    sizes = f"{count_of(read.rows, 'row')}, {count_of(read.users or 0, 'user')} and {count_of(read.items or 0, 'item')}"
    cure = f"--min-count {most} is the most that leaves any" if most > 1 else "--min-count 1 keeps all"
    return NothingLeftError(
        f"{place}: nothing is left of {sizes}: {before}--min-count {min_count} none, for it removes users and items "
        f"with fewer rows until there is none; {cure}"
    )


def largest_core(users: Codes, items: Codes, below: int) -> int:
    """The largest k below a value for which the k-core of some rows is not empty; at least 1."""
    least, most = 1, min(below - 1, _largest(users), _largest(items))
    while least < most:  # the core of k holds that of k + 1
        k = (least + most + 1) // 2
        if _has_core(users, items, k):
            least = k
        else:
            most = k - 1
    return least


def _largest(codes: Codes) -> int:
    """Rows of the most frequent code."""
    return int(np.bincount(codes).max(initial=1))


def _has_core(users: Codes, items: Codes, k: int) -> bool:
    """Whether rows are left when users and items with fewer than k are removed until there is none."""
    while len(users):
        kept = (np.bincount(users)[users] >= k) & (np.bincount(items)[items] >= k)
        if kept.all():
            return True
        users, items = users[kept], items[kept]
    return False
