"""Helpers for tests: settings of small models, small data with an order that can be learnt, and files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError
from mclrec.json_files import write_json
from mclrec.sealed_json import read_sealed, sealed

SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "inner_size": 16,
    "max_length": 6,
    "dropout": 0,
    "attention_dropout": 0,
}
"""Settings of a small transformer without dropout."""


def mostly_slow(cases: Iterable[Any], quick: Collection[Any]) -> list[Any]:
    """Test parameters of which `make test` runs the ``quick`` ones and `make test-slow` the others."""
    return [
        case
        if case in quick
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases
    ]


def tiny_data(
    users: int = 40, items: int = 15, seed: int = 0, shortest: int = 3, longest: int = 12
) -> SequenceData:
    """Histories in which the next item is mostly the current one plus one, modulo the catalogue size."""
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


def sequences_of(rows: Sequence[Sequence[int]], num_items: int) -> SequenceData:
    """Sequence data with one user per row; item i has the outside id i."""
    packed = Packed.of(rows)
    return SequenceData(
        packed.items.astype(np.int32),
        packed.offsets,
        Vocabulary(np.arange(1, num_items + 1)),
        Vocabulary(np.arange(1, len(rows) + 1)),
    )


def write_log(path: Path, data: SequenceData) -> Path:
    """Write ``data`` as a log that is read back as the same data."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item", "time"])
        for place, item in enumerate(data.items.tolist()):
            user = int(np.searchsorted(data.offsets, place, side="right"))
            time = place if data.times is None else int(data.times[place])
            rows.writerow([data.user_ids[user], data.item_ids[item], time])
    return path


def edit_sealed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a checksummed JSON file of a model directory, as if another version of the library had written it."""
    value = read_sealed(path)
    change(value)
    write_json(path, sealed(value))


def at_random_times(data: SequenceData) -> SequenceData:
    """The data with increasing times per user that interleave users; `tiny_data` has one user after another."""
    rng = np.random.default_rng(3)
    times = np.concatenate([np.sort(rng.permutation(10_000)[:length]) for length in data.lengths])
    return replace(data, times=times)


def assert_file_refused(read: Callable[[Path], object], path: Path, text: str | None, said: str) -> None:
    """Check that a reader refuses a file with this text (missing if None), and says ``said`` in at most two lines."""
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as refused:
        read(path)
    assert said in str(refused.value)
    assert str(refused.value).count("\n") <= 1
