"""Errors where no row is left: how many rows each rule left, and the largest k that leaves any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.data.loading import prepare
from mclrec.data.nothing_left import largest_core
from mclrec.errors import DataError


def core_size(rows: list[tuple[int, int]], k: int) -> int:
    """Number of rows in the k-core, by a plain loop."""
    while True:
        users, items = zip(*rows, strict=True) if rows else ((), ())
        kept = [row for row in rows if users.count(row[0]) >= k and items.count(row[1]) >= k]
        if len(kept) == len(rows):
            return len(kept)
        rows = kept


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30),
    st.integers(2, 12),
)
def test_the_largest_core_equals_a_plain_search(rows: list[tuple[int, int]], below: int) -> None:
    users, items = (np.array(column, dtype=np.int32) for column in zip(*rows, strict=True))
    expected = max(k for k in range(1, below) if k == 1 or core_size(rows, k))
    assert largest_core(users, items, below) == expected


def test_each_rule_says_what_it_left_and_the_cure_helps(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = [f"u{user},i{item},{time}" for time in range(2) for user in range(3) for item in range(3)]
    path.write_text("\n".join(["user,item,time", *rows, "u0,i0,0"]) + "\n")
    with pytest.raises(DataError) as caught:
        prepare(path, min_count=9, drop_duplicates=True, drop_repeats=True)
    said = str(caught.value)
    assert "drop_duplicates left 18, drop_repeats left 9, min_count=9 none" in said
    assert said.endswith("min_count=3 is the highest that leaves any")
    assert prepare(path, min_count=3, drop_repeats=True).num_interactions == 9
    with pytest.raises(DataError, match="nothing is left"):
        prepare(path, min_count=4, drop_repeats=True)
