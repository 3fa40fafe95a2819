"""Evaluation with random items inserted into the test histories (paper, section 4.5.3)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mclrec.data.negatives import UniformNegatives
from mclrec.data.packed import IntArray, ranges, shuffled
from mclrec.data.split import Split, Targets
from mclrec.errors import ConfigError
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import evaluate
from mclrec.models.storage import load_model
from mclrec.randomness import Stream, generator
from mclrec.runs.run import ranks_path
from mclrec.runs.training_run import resolve_device

__all__ = ["measure_with_noise", "noisy_part", "with_noise"]

_SEEN: tuple[Seen, ...] = ("keep", "drop")


def noisy_part(share: float) -> str:
    """Name of the part with a share of noise, which stands beside ``test``, the part without."""
    return f"test-noise-{share:g}"


def measure_with_noise(directory: Path, split: Split, share: float, seed: int) -> None:
    """Evaluate a finished run on noisy test histories, and save the ranks beside its other ranks.

    For a given share, the noise is the same for every model and seed.
    """
    noisy = with_noise(split, share, generator(0, Stream.NOISE, round(1000 * share)))
    device = resolve_device("auto")
    loaded = load_model(directory, device)
    for seen in _SEEN:
        result = evaluate(loaded.model, noisy, name=loaded.name, seen=seen, seed=seed, device=device)
        path = ranks_path(directory, noisy_part(share), result.protocol.label)
        result.save_ranks(path, loaded.checksum)


def with_noise(split: Split, share: float, rng: np.random.Generator) -> Split:
    """The split with ``floor(share * n)`` random items inserted into each test history of n items.

    They are inserted before distinct, uniformly drawn positions, and are items that the user has never interacted with.
    Training and validation data stay unchanged.

    Raises:
        ConfigError: the share is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share of noise is {share}; it must be from 0 to 1")
    return replace(split, test=_noisy(split.test, share, rng))


def _noisy(targets: Targets, share: float, rng: np.random.Generator) -> Targets:
    data, histories = targets.data, targets.histories(np.arange(len(targets)))
    counts = np.floor(share * histories.lengths).astype(np.int64)
    chosen = shuffled(histories.lengths, rng)[ranges(histories.offsets[:-1], counts)]
    copies = np.ones(len(histories.items), dtype=np.int64)
    copies[chosen] = 2
    tokens = np.repeat(histories.items, copies)
    first = (np.cumsum(copies) - copies)[chosen]  # the first of two copies
    users = targets.users[histories.rows[chosen]]
    tokens[first] = UniformNegatives().for_users(data, users, rng)
    return _with_histories(targets, tokens, histories.lengths + counts)


def _with_histories(targets: Targets, tokens: IntArray, lengths: IntArray) -> Targets:
    """The same targets with other histories; users without a target lose their items."""
    all_lengths = np.zeros(targets.data.num_users, dtype=np.int64)
    all_lengths[targets.users] = lengths + 1
    offsets = np.concatenate([[0], np.cumsum(all_lengths)])
    places = offsets[1:][targets.users] - 1
    order = np.argsort(targets.users, kind="stable")  # histories are ordered by target, items by user
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    items = np.empty(offsets[-1], dtype=targets.data.items.dtype)
    items[np.setdiff1d(np.arange(offsets[-1]), places)] = tokens[ranges(starts[order], lengths[order])]
    items[places] = targets.items
    return Targets(replace(targets.data, items=items, offsets=offsets, times=None), targets.users, places)
