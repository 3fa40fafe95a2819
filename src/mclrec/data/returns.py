"""Returns: how often users come back to items of their history, and which evaluation protocol suits that.

In files and JSON the two protocols have one-letter labels; the titles and notes here are what people read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from mclrec.data.packed import IntArray, spans
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Targets, by_files

__all__ = [
    "MANY",
    "PROTOCOLS",
    "ProtocolWords",
    "protocol_order",
    "share_of_returns",
    "suited_protocol",
    "validation_returns",
]

Label = Literal["F", "U"]


class ProtocolWords(NamedTuple):
    """A protocol in words: a title, and one line on what it means and when it suits."""

    title: str
    note: str


PROTOCOLS: Mapping[str, ProtocolWords] = {
    "F": ProtocolWords(
        "history items excluded (F)",
        "Items that the user has had are not recommended, and a held-out item that is one of them counts as a miss: "
        "for logs where hardly anybody returns to an item.",
    ),
    "U": ProtocolWords(
        "history items kept as candidates (U)",
        "Items that the user has had may be recommended again: for logs where users return to their items.",
    ),
}
"""The protocols, by label."""

MANY = 0.1
"""Share of returns from which items of the history have to stay candidates: F would count each return as a miss."""


def suited_protocol(returns: float | None) -> Label:
    """The protocol that suits data: U where many users return to their items, F where hardly anybody does.

    Args:
        returns: share of *validation* targets, never of test targets, that are in their user's history. None if it is
            not known; the protocol is then F.
    """
    return "U" if returns is not None and returns >= MANY else "F"


def protocol_order(returns: float | None) -> tuple[Label, Label]:
    """Labels of both protocols, the suited one first; ``returns`` as for `suited_protocol`."""
    return ("U", "F") if suited_protocol(returns) == "U" else ("F", "U")


def share_of_returns(targets: Targets) -> float | None:
    """Share of targets that are in their user's history; None if there are no targets."""
    if not len(targets):
        return None
    hits, lengths = 0, targets.places - targets.data.offsets[targets.users]
    for first, last in spans(np.concatenate([[0], np.cumsum(lengths)])):
        part = np.arange(first, last)
        histories = targets.histories(part)
        rows = histories.rows
        hits += len(np.unique(rows[histories.items == targets.items[part][rows]]))
    return hits / len(targets)


def validation_returns(data: SequenceData) -> float | None:
    """Share of validation targets that are in their user's history, by the data's own files or else leave-one-out."""
    if data.cuts is not None:
        return share_of_returns(by_files(data).validation)
    users: IntArray = np.flatnonzero(data.lengths >= 3)
    return share_of_returns(Targets(data, users, data.offsets[1:][users] - 2))
