"""Training data of the benchmarks: a named data set, or synthetic sequences of any size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mclrec.data.loading import load
from mclrec.data.packed import ranges
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Split, leave_one_out
from mclrec.data.vocabulary import Vocabulary

__all__ = ["open_split"]


def open_split(data: str | Mapping[str, int], *, newest: int | None = None) -> Split:
    """Load data and split them leave-one-out.

    Args:
        data: name of a data set, or ``users``, ``items`` and ``length`` (of a training history) of synthetic data.
        newest: cut each training history to this many of its newest items, and drop items that then occur in no
            history, as RecTools does. Such a split is for training only.
    """
    split = leave_one_out(load(data) if isinstance(data, str) else drawn(**data))
    return split if newest is None else replace(split, training=_newest(split.training, newest))


def drawn(users: int, items: int, length: int, seed: int = 1) -> SequenceData:
    """Draw histories of one length with uniform items, and two more items per user to be held out."""
    rng = np.random.default_rng(seed)
    total = users * (length + 2)
    return SequenceData(
        items=rng.integers(1, items, size=total, dtype=np.int32, endpoint=True),
        offsets=np.arange(0, total + 1, length + 2),
        item_ids=Vocabulary(np.arange(1, items + 1)),
        user_ids=Vocabulary(np.arange(1, users + 1)),
        name=f"drawn-{users}-{items}-{length}",
    )


def _newest(data: SequenceData, count: int) -> SequenceData:
    lengths = np.minimum(data.lengths, count)
    items = data.items[ranges(data.offsets[1:] - lengths, lengths)]
    present = np.flatnonzero(np.bincount(items))
    dense = np.zeros(data.num_items + 1, dtype=np.int32)
    dense[present] = np.arange(1, len(present) + 1)
    return replace(
        data,
        items=dense[items],
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        item_ids=data.item_ids.take(present - 1),
        times=None,
    )
