"""Packed sequences; arrays in files or processed in blocks give the same results as arrays in memory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.logs import hard_table

from mclrec.data import packed
from mclrec.data.loading import prepare
from mclrec.data.packed import (
    Packed,
    counted,
    distinct_counts,
    empty,
    gathered,
    highest_of_each,
    ranges,
    selected,
    spans,
)
from mclrec.data.split import by_time_quantiles, leave_one_out
from mclrec.errors import DataError

SEQUENCES = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=8)


@given(SEQUENCES)
def test_holds_what_was_packed(sequences: list[list[int]]) -> None:
    some = Packed.of(sequences)
    assert some.tolist() == sequences
    assert len(some) == len(sequences)
    assert some.items.dtype == some.offsets.dtype == np.int64
    assert some.lengths.tolist() == [len(row) for row in sequences]
    assert some.rows.tolist() == [number for number, row in enumerate(sequences) for _ in row]
    assert some.positions.tolist() == [place for row in sequences for place in range(len(row))]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20)), max_size=30),
    st.sampled_from([10, 1000, 10**9]),
)
def test_sums_of_distinct_keys(weighed: list[tuple[int, int]], size: int) -> None:
    expected = dict.fromkeys(sorted({key for key, _ in weighed}), 0)
    for key, weight in weighed:
        expected[key] += weight
    keys, weights = (np.array([pair[side] for pair in weighed], dtype=np.int64) for side in (0, 1))
    found, sums = distinct_counts(keys, size, weights)
    assert dict(zip(found.tolist(), sums.tolist(), strict=True)) == expected
    assert found.tolist() == list(expected)
    counted_keys, counts = distinct_counts(keys, size)
    assert counted_keys.tolist() == found.tolist()
    assert counts.tolist() == distinct_counts(keys, size, np.ones_like(keys))[1].tolist()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=30), st.integers(1, 5))
def test_highest_values_of_each_group(pairs: list[tuple[int, int]], count: int) -> None:
    pairs.sort(key=lambda pair: pair[0])
    expected: list[int] = []
    for group in range(4):
        own = [place for place, pair in enumerate(pairs) if pair[0] == group]
        expected += sorted(own, key=lambda place: -pairs[place][1])[:count]
    groups, values = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    assert highest_of_each(groups, values.astype(np.float64), count).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 7)), max_size=9))
def test_ranges_are_concatenated(pairs: list[tuple[int, int]]) -> None:
    starts, lengths = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    expected = [place for start, length in pairs for place in range(start, start + length)]
    assert ranges(starts, lengths).tolist() == expected


@given(SEQUENCES.filter(bool), st.lists(st.integers(0, 7), max_size=9), st.none() | st.integers(0, 7))
def test_takes_sequences(sequences: list[list[int]], rows: list[int], max_length: int | None) -> None:
    chosen = np.array(rows, dtype=np.int64) % len(sequences)
    taken = Packed.of(sequences).take(chosen, max_length)
    keep = [
        len(sequences[row]) if max_length is None else min(len(sequences[row]), max_length) for row in chosen
    ]
    assert taken.tolist() == [
        sequences[row][len(sequences[row]) - kept :] for row, kept in zip(chosen, keep, strict=True)
    ]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks, and every array in a file."""
    monkeypatch.setattr(packed, "_BLOCK", 7)
    monkeypatch.setattr(packed, "_MAPPED_FROM", 1)


def test_a_large_array_lies_in_a_file_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    in_memory, in_file = empty(10, np.int64), empty(packed._MAPPED_FROM // 8, np.int64)
    assert in_memory.base is None
    assert isinstance(in_file.base, np.memmap)
    assert type(in_file) is np.ndarray
    in_file[:] = 3
    assert int(in_file.sum()) == 3 * len(in_file)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room is not taken beforehand here")
def test_a_full_disk_is_told(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"no space for 8.0 GB of interactions .*; set TMPDIR to"):
        empty(10**9, np.int64)


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 9))
def test_spans_hold_all_users_in_order(lengths: list[int], block: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(np.array(lengths, dtype=np.int64))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_BLOCK", block)
        found = list(spans(offsets))
    assert [user for first, last in found for user in range(first, last)] == list(range(len(lengths)))
    longest = max(lengths, default=0)
    assert all(offsets[last] - offsets[first] < block + longest + 1 for first, last in found)


def test_block_by_block_is_at_once(small: None) -> None:
    rng = np.random.default_rng(0)
    places, table = rng.integers(0, 12, 50), rng.integers(0, 99, 12)
    assert counted(places, 14).tolist() == np.bincount(places, minlength=14).tolist()
    assert gathered(table, places).tolist() == table[places].tolist()
    assert selected(places, places > 4).tolist() == places[places > 4].tolist()


def test_preparation_and_splits_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(hard_table(2000, 50, 40), tmp_path / "log.parquet")
    usual = prepare(tmp_path / "log.parquet", drop_repeats=True)
    splits = [leave_one_out(usual), by_time_quantiles(usual)]
    monkeypatch.setattr(packed, "_BLOCK", 7)
    monkeypatch.setattr(packed, "_MAPPED_FROM", 1)
    other = prepare(tmp_path / "log.parquet", drop_repeats=True)
    assert isinstance(other.items.base, np.memmap)
    assert other.fingerprint == usual.fingerprint
    assert other.popularity.tolist() == usual.popularity.tolist()
    for one, two in zip(splits, [leave_one_out(other), by_time_quantiles(other)], strict=True):
        assert one.name == two.name
        assert one.training.fingerprint == two.training.fingerprint
        assert one.training.times is not None
        assert two.training.times is not None
        assert one.training.times.tolist() == two.training.times.tolist()
        for part, same in ((one.validation, two.validation), (one.test, two.test)):
            assert part.users.tolist() == same.users.tolist()
            assert part.places.tolist() == same.places.tolist()
