"""Rank each user's last item by the list that a peer made for the user, under protocol F.

Request: ``inter`` (see `benchmarks.ours.export`), ``lists`` (see `benchmarks.peers.log_lists`), ``cuts``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.child import Document, Request, answer, versions
from benchmarks.peers.log_lists import Histories, read_histories
from mclrec.data.packed import IntArray
from mclrec.evaluation.metrics import summarise

__all__ = ["list_ranks", "measure"]


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    histories = read_histories(Path(request["inter"]))
    with np.load(request["lists"]) as lists:
        ranks = list_ranks(histories, lists["items"], lists["scores"])
    return {
        "metrics": {"F": summarise(ranks, request["cuts"])},
        "users": len(ranks),
        "versions": versions(["mclrec", "numpy"]),
    }


def list_ranks(histories: Histories, items: IntArray, scores: npt.NDArray[np.floating[Any]]) -> IntArray:
    """Rank the last item of each user: 1 + the number of other listed items that do not score below it.

    As in our own evaluation, ties count against the target. A target that is not listed is a miss, and so is one that
    is in the history, because protocol F drops the items of the history.

    Args:
        histories: histories of all users, including the last item.
        items: (users, K) dense ids; 0 beyond the end of a shorter list.
        scores: (users, K) scores of these items.

    Returns:
        (users,) ranks; V + 1 for a miss.

    Raises:
        ValueError: a list has an item twice or an item of the history, or a user has no list.
    """
    if len(items) != histories.users:
        raise ValueError(f"{len(items)} lists for {histories.users} users")
    ranks = np.full(len(items), histories.num_items + 1, dtype=np.int64)
    for user, (listed, of_list) in enumerate(zip(items, scores, strict=True)):
        history, target = histories.before_last(user), histories.last(user)
        real = listed[listed > 0]
        if len(np.unique(real)) < len(real) or np.isin(real, history).any():
            raise ValueError(f"the list of user {user + 1} holds an item twice, or one of the history")
        place = np.flatnonzero(listed == target)
        if len(place):
            ranks[user] = np.count_nonzero((of_list >= of_list[place[0]]) & (listed > 0))
    return ranks


if __name__ == "__main__":
    answer(measure)
