"""What the peers train on in the rows on epochs, as one history a row.

On ``sequences``, rows are users: their newest training items, of which all but the first are targets, and items that
then occur have the ids 1..V. On ``prefixes``, every target has a row of its own, with the newest items before it, and
ids are those of the log.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.child import Request
from benchmarks.peers.log_lists import Histories, read_histories

__all__ = ["on_prefixes", "training_part", "training_prefixes", "training_rows"]

_HELD_OUT = 2
"""Items of each user that are for test and for validation."""


def on_prefixes(request: Request) -> bool:
    """Whether a request's ``unit`` is ``prefixes``; ``sequences`` if it has none."""
    return bool(request.get("unit") == "prefixes")


def training_rows(request: Request) -> tuple[Histories, int]:
    """Rows of a request (``inter``, ``max_length``, ``unit``), with one item more at most, and the number of items."""
    path, newest = Path(request["inter"]), request["max_length"] + 1
    if on_prefixes(request):
        return training_prefixes(path, newest), read_histories(path).num_items
    part = training_part(path, newest)
    return part, part.num_items


def training_part(inter: Path, newest: int) -> Histories:
    """Each user's training items, at most ``newest`` of them; items that then occur have the ids 1..V."""
    whole = read_histories(inter)
    ends = whole.offsets[1:] - _HELD_OUT
    part = _slices(whole, ends, np.minimum(ends - whole.offsets[:-1], newest))
    _, dense = np.unique(part.items, return_inverse=True)
    return Histories(dense + 1, part.offsets)


def training_prefixes(inter: Path, newest: int) -> Histories:
    """Each training item that has one before it, as the last of a row with the items before it, ``newest`` in all."""
    whole = read_histories(inter)
    starts, ends = whole.offsets[:-1], whole.offsets[1:] - _HELD_OUT
    places = np.arange(len(whole.items))
    user = np.repeat(np.arange(whole.users), np.diff(whole.offsets))
    targets = places[(places > starts[user]) & (places < ends[user])]
    return _slices(whole, targets + 1, np.minimum(targets + 1 - starts[user[targets]], newest))


def _slices(whole: Histories, ends: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Histories:
    """Slices of the items that end at some places."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths) + np.repeat(ends - lengths, lengths)
    return Histories(whole.items[places], offsets)
