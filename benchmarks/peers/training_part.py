"""What the peers train on in the row ``epoch-sequences``: each user's newest training items, with dense ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.peers.log_lists import Histories, read_histories

__all__ = ["training_part"]

_HELD_OUT = 2
"""Items of each user that are for test and for validation."""


def training_part(inter: Path, newest: int) -> Histories:
    """Read each user's training items, at most ``newest`` of them; items that then occur have the ids 1..V."""
    whole = read_histories(inter)
    ends = whole.offsets[1:] - _HELD_OUT
    lengths = np.minimum(ends - whole.offsets[:-1], newest)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths) + np.repeat(ends - lengths, lengths)
    _, dense = np.unique(whole.items[places], return_inverse=True)
    return Histories(dense + 1, offsets)
