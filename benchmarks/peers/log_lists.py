"""Input and output of the peers in the comparison on logs: histories as rows, one list per user, and costs."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Costs", "Histories", "read_histories", "top_lists", "write_lists"]

_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in a unit of ru_maxrss


@dataclass(frozen=True, slots=True)
class Histories:
    """Histories of users 1..U as one array of dense items and offsets."""

    items: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.offsets) - 1

    @property
    def num_items(self) -> int:
        """Number of items, all of which occur in the rows."""
        return int(self.items.max())

    def before_last(self, user: int) -> npt.NDArray[np.int64]:
        """History of a user (counted from 0) without the last item, which is the test target."""
        return self.items[self.offsets[user] : self.offsets[user + 1] - 1]

    def last(self, user: int) -> int:
        """Last item of a user (counted from 0)."""
        return int(self.items[self.offsets[user + 1] - 1])


def read_histories(inter: Path) -> Histories:
    """Read the rows that `benchmarks.ours.export` wrote; they are ordered by user and position."""
    rows = np.loadtxt(inter, dtype=np.int64, delimiter="\t", skiprows=1)
    counts = np.bincount(rows[:, 0])[1:]
    return Histories(rows[:, 1], np.concatenate([[0], np.cumsum(counts)]))


def top_lists(
    scores: npt.NDArray[np.float32], histories: Histories, first: int, listed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Best items of some users, best first, without the items of their histories.

    Args:
        scores: (rows, V + 1) scores of consecutive users from ``first`` on; column 0 is ignored.
        histories: histories of all users.
        first: user of the first row, counted from 0.
        listed: length of the lists.

    Returns:
        (rows, listed) items, 0 where a list is shorter, and their scores.

    Raises:
        ValueError: a score is NaN.
    """
    if np.isnan(scores[:, 1:]).any():
        raise ValueError("a score is not a number")
    scores = scores.copy()
    scores[:, 0] = -np.inf
    for row in range(len(scores)):
        scores[row, histories.before_last(first + row)] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :listed]
    values = np.take_along_axis(scores, best, axis=1)
    return np.where(values > -np.inf, best, 0), values


def write_lists(path: Path, items: Any, scores: Any) -> None:
    """Write the lists of users 1..U; see `top_lists`."""
    np.savez(path, items=np.asarray(items, dtype=np.int64), scores=np.asarray(scores, dtype=np.float32))


class Costs:
    """Time of this process from construction until `stop`, and its largest resident set until then."""

    def __init__(self) -> None:
        self.processor, self._wall = time.process_time(), time.perf_counter()
        self._found: dict[str, Any] = {}

    def stop(self) -> None:
        """Record the costs."""
        self._found = {
            "seconds": round(time.perf_counter() - self._wall, 3),
            "processor_seconds": round(time.process_time() - self.processor, 3),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT,
        }

    def document(self) -> dict[str, Any]:
        """The costs, for the result."""
        return self._found
