"""Returns: whether users come back to items that they have had, and which evaluation protocol suits that."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mclrec.data.packed import IntArray, blocks
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Targets

__all__ = ["MANY", "share_of_returns", "suited_protocol", "validation_returns"]

MANY = 0.1
"""Share of returns from which items of the history have to stay candidates: F would call each a miss."""


def suited_protocol(returns: float | None) -> Literal["F", "U"]:
    """The protocol that suits data: U where many users return to their items, F where hardly anybody does.

    Args:
        returns: share of *validation* targets that are in their user's history, never of test targets. None where
            it is not known, which gives F.
    """
    return "U" if returns is not None and returns >= MANY else "F"


def share_of_returns(targets: Targets) -> float | None:
    """Share of targets that are in their user's history; None if there are no targets."""
    if not len(targets):
        return None
    hits = 0
    for block in blocks(len(targets)):
        part = np.arange(block.start, block.stop)
        histories = targets.histories(part)
        rows = histories.rows
        hits += len(np.unique(rows[histories.items == targets.items[part][rows]]))
    return hits / len(targets)


def validation_returns(data: SequenceData) -> float | None:
    """Share of the validation targets of leave-one-out that are in their user's history."""
    users: IntArray = np.flatnonzero(data.lengths >= 3)
    return share_of_returns(Targets(data, users, data.offsets[1:][users] - 2))
