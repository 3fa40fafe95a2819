"""Training data of the peers in the epoch benchmarks, one history per row.

With ``sequences``, a row has a user's newest training items, of which all but the first are targets, and the items that
then occur are renumbered 1..V. With ``prefixes``, every target has its own row, with the newest items before it, and
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
"""Number of items of each user that are held out for test and validation."""


def on_prefixes(request: Request) -> bool:
    """Whether a request's ``unit`` is ``prefixes``; ``sequences`` if it has none."""
    return bool(request.get("unit") == "prefixes")


def training_rows(request: Request) -> tuple[Histories, int]:
    """Rows for a request (``inter``, ``max_length``, ``unit``), of ``max_length`` + 1 items at most, and V."""
    path, newest = Path(request["inter"]), request["max_length"] + 1
    if on_prefixes(request):
        return training_prefixes(path, newest), read_histories(path).num_items
    part = training_part(path, newest)
    return part, part.num_items


def training_part(inter: Path, newest: int) -> Histories:
    """At most ``newest`` training items of each user; the items that then occur are renumbered 1..V."""
    whole = read_histories(inter)
    ends = whole.offsets[1:] - _HELD_OUT
    part = _slices(whole, ends, np.minimum(ends - whole.offsets[:-1], newest))
    _, dense = np.unique(part.items, return_inverse=True)
    return Histories(dense + 1, part.offsets)


def training_prefixes(inter: Path, newest: int) -> Histories:
    """A row for each training item that has a predecessor: it comes last, after those before it, ``newest`` at most."""
    whole = read_histories(inter)
    starts, ends = whole.offsets[:-1], whole.offsets[1:] - _HELD_OUT
    places = np.arange(len(whole.items))
    user = np.repeat(np.arange(whole.users), np.diff(whole.offsets))
    targets = places[(places > starts[user]) & (places < ends[user])]
    return _slices(whole, targets + 1, np.minimum(targets + 1 - starts[user[targets]], newest))


def _slices(whole: Histories, ends: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Histories:
    """Slices of the items, given by their ends and lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths) + np.repeat(ends - lengths, lengths)
    return Histories(whole.items[places], offsets)
