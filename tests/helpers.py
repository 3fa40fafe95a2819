"""Data that tests train on: small, and with an order that can be learnt."""

from __future__ import annotations

import numpy as np

from mclrec.data.sequences import SequenceData, Vocabulary


def tiny_data(
    users: int = 40, items: int = 15, seed: int = 0, shortest: int = 3, longest: int = 12
) -> SequenceData:
    """Histories in which the next item is mostly the current one plus one, around the catalogue."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest, size=users, endpoint=True)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    steps = np.where(rng.random(offsets[-1]) < 0.8, 1, rng.integers(1, items, size=offsets[-1]))
    sequence = np.cumsum(steps) % items + 1
    return SequenceData(
        items=sequence.astype(np.int32),
        offsets=offsets,
        item_ids=Vocabulary([f"item {number:03d}" for number in range(1, items + 1)]),
        user_ids=Vocabulary([f"user {number:03d}" for number in range(1, users + 1)]),
        times=np.arange(offsets[-1]),
        name="tiny",
    )
