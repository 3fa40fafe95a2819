"""Measures of sequences, against plain counts."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.data.loading import prepare
from mclrec.data.measures import gini, measure, ties_of
from mclrec.data.moments import moment
from mclrec.data.returns import MANY, suited_protocol


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_measures_are_counts(rows: list[tuple[int, int, int]]) -> None:
    data = prepare(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), min_count=1)
    assert data.taken is not None
    found = data.taken.left
    moments, events = Counter((user, time) for user, _, time in rows), Counter(rows)
    assert found.tied == sum(count for count in moments.values() if count > 1) / len(rows)
    assert found.duplicates == sum(count - 1 for count in events.values()) / len(rows)
    assert found.repeats == (len(rows) - len({row[:2] for row in rows})) / len(rows)
    histories = [data.sequence(row).tolist() for row in range(data.num_users)]
    held = [history[-2] in history[:-2] for history in histories if len(history) >= 3]
    assert found.returns == (sum(held) / len(held) if held else None)
    assert found.unmeasured == sum(len(history) < 3 for history in histories)
    assert found.lengths.least == min(map(len, histories))
    assert found.lengths.most == max(map(len, histories))
    counts = Counter(row[1] for row in rows)
    assert found.top_share == max(counts.values()) / len(rows)
    assert measure(data) == found  # with integer times, nothing was lost by keeping whole seconds


def test_ties_across_blocks() -> None:
    rng = np.random.default_rng(1)
    size = (1 << 20) + 5
    users, times = np.zeros(size, dtype=np.int32), np.sort(rng.integers(0, size, size))
    items = rng.integers(0, 2, size)
    shared = np.isin(times, times[1:][times[1:] == times[:-1]])
    same = (times[1:] == times[:-1]) & (items[1:] == items[:-1])
    assert ties_of(users, items, times) == (shared.sum(), same.sum())


def test_ties_are_as_exact_as_the_log() -> None:
    times = ["2024-01-01T00:00:00.1Z", "2024-01-01T00:00:00.2Z", "2024-01-01T00:00:00.2Z"]
    data = prepare(pl.DataFrame({"user": [1] * 3, "item": [1, 2, 3], "time": times}), min_count=1)
    assert data.taken is not None
    assert data.taken.left.tied == 2 / 3


def test_gini() -> None:
    assert gini(np.array([3, 3, 3])) == pytest.approx(0)
    assert gini(np.array([0] * 99 + [7])) == pytest.approx(0.99)
    counts = np.array([1, 5, 2, 9])
    between = sum(abs(a - b) for a in counts for b in counts)
    assert gini(counts) == pytest.approx(between / (2 * len(counts) * counts.sum()))


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        (1396343220, "2014-04-01T09:07:00Z"),
        (1396343220000, "2014-04-01T09:07:00Z"),
        (1396343220000000, "2014-04-01T09:07:00Z"),
        (1396343220000000000, "2014-04-01T09:07:00Z"),
        (20240101, "20240101"),
        (0, "0"),
        (-(10**18), "-1000000000000000000"),
        (2**63 - 1, "2262-04-11T23:47:16Z"),
    ],
)
def test_moments(time: int, shown: str) -> None:
    assert moment(time) == shown


def test_the_protocol_follows_from_returns() -> None:
    assert [suited_protocol(share) for share in (None, 0.0, MANY - 0.01, MANY, 1.0)] == [
        "F",
        "F",
        "F",
        "U",
        "U",
    ]
