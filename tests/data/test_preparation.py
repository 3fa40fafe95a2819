import random
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.logs import hash_of

from mclrec.data.loading import prepare
from mclrec.data.sequences import SequenceData
from mclrec.errors import DataError

Row = tuple[Any, Any, int]


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")


def naive(rows: list[Row], min_count: int, drop_repeats: bool) -> dict[Any, list[Any]]:
    """Sequences in outside ids, by loops over the definitions."""
    rows = sorted(rows, key=lambda row: (row[2], hash_of(*row)))
    if drop_repeats:
        rows = [
            row for place, row in enumerate(rows) if row[:2] not in {before[:2] for before in rows[:place]}
        ]
    while True:
        users, items = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
        kept = [row for row in rows if users[row[0]] >= min_count and items[row[1]] >= min_count]
        if len(kept) == len(rows):
            break
        rows = kept
    found: dict[Any, list[Any]] = {}
    for user, item, _ in rows:
        found.setdefault(user, []).append(item)
    return found


def outside(data: SequenceData) -> dict[Any, list[Any]]:
    return {
        data.user_ids[row + 1]: [data.item_ids[item] for item in data.sequence(row)]
        for row in range(data.num_users)
    }


IDS = st.integers(-3, 12) | st.integers(-(2**60), 2**60)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=2)


@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    min_count=st.integers(1, 3),
    drop_repeats=st.booleans(),
    names=st.booleans(),
)
def test_equals_naive_loops(data: st.DataObject, min_count: int, drop_repeats: bool, names: bool) -> None:
    ids = st.sampled_from(data.draw(st.lists(NAMES if names else IDS, min_size=1, max_size=6)))
    rows = data.draw(st.lists(st.tuples(ids, ids, st.integers(0, 5)), min_size=1, max_size=40))
    expected = naive(rows, min_count, drop_repeats)
    if not expected:
        with pytest.raises(
            DataError, match=r"min_count=1 keeps all|min_count=\d is the highest that leaves any"
        ):
            prepare(frame(rows), min_count=min_count, drop_repeats=drop_repeats)
        return
    found = prepare(frame(rows), min_count=min_count, drop_repeats=drop_repeats)
    assert outside(found) == expected
    key = str.encode if names else int
    assert list(found.user_ids) == sorted(expected, key=key)
    assert list(found.item_ids) == sorted({item for items in expected.values() for item in items}, key=key)
    assert found.items.dtype == np.int32


def random_log(names: bool) -> list[Row]:
    """A log with ties, repeats, and ids that sort differently by code point, UTF-16 and locale."""
    draw = random.Random(7)
    users = ["a", "B", "é", "z", "ﬀ", "😀", "10", "9", "Ω", "日本"] if names else [3, 20, 100, -5, 7, 2**40]
    items = [f"{sign}{number}" for sign in ("é", "z", "A", "😀", "ﬀ") for number in range(12)]
    return [(draw.choice(users), draw.choice(items), draw.randrange(40)) for _ in range(900)]


@pytest.mark.parametrize("names", [True, False])
def test_engines_agree(tmp_path: Path, names: bool) -> None:
    rows = random_log(names)
    table = frame(rows)
    table.write_csv(tmp_path / "log.csv")
    table.write_parquet(tmp_path / "log.parquet")
    table.write_ndjson(tmp_path / "log.jsonl")
    connection = duckdb.connect()
    relation = connection.sql(f"FROM read_parquet('{tmp_path / 'log.parquet'}')")
    pandas = pd.DataFrame(rows, columns=["user", "item", "time"])
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    files = [tmp_path / f"log.{suffix}" for suffix in ("csv", "parquet", "jsonl")]
    first, *others = [prepare(source) for source in (*files, table, table.lazy(), shuffled, pandas, relation)]
    assert outside(first) == naive(rows, 5, False)
    for other in others:
        assert other.items.tolist() == first.items.tolist()
        assert other.offsets.tolist() == first.offsets.tolist()
        assert first.times is not None
        assert other.times is not None
        assert other.times.tolist() == first.times.tolist()
        assert list(other.item_ids) == list(first.item_ids)
        assert list(other.user_ids) == list(first.user_ids)
        assert other.fingerprint == first.fingerprint


def test_engines_agree_on_dates(tmp_path: Path) -> None:
    times = pl.Series("time", [1_600_000_000_250_000, 1_600_000_000_125_000, 5]).cast(pl.Datetime("us"))
    table = pl.DataFrame({"user": [1, 1, 1], "item": [1, 2, 3]}).with_columns(times)
    table.write_csv(tmp_path / "log.csv")
    table.write_parquet(tmp_path / "log.parquet")
    for source in (tmp_path / "log.csv", tmp_path / "log.parquet", table, table.to_pandas()):
        data = prepare(source, min_count=1)
        assert data.items.tolist() == [3, 2, 1]  # ordered by microseconds, though only seconds are kept
        assert data.times is not None
        assert data.times.tolist() == [0, 1_600_000_000, 1_600_000_000]


def test_k_core_that_leaves_nothing_says_what_there_was() -> None:
    with pytest.raises(
        DataError,
        match=r"nothing is left of 3 rows, 2 users and 2 items: min_count=5 none, .*; min_count=1 keeps all$",
    ):
        prepare(frame([(1, 1, 1), (1, 2, 2), (2, 1, 3)]))


def test_first_of_repeats_is_kept() -> None:
    data = prepare(frame([(1, 7, 1), (1, 8, 2), (1, 7, 3), (2, 7, 4)]), min_count=1, drop_repeats=True)
    assert outside(data) == {1: [7, 8], 2: [7]}
    assert data.times is not None
    assert data.times.tolist() == [1, 2, 4]


def test_k_core_is_stable() -> None:
    data = prepare(frame(random_log(True)))
    rows = [(user, item, place) for user, items in outside(data).items() for place, item in enumerate(items)]
    assert prepare(frame(rows)).fingerprint == data.fingerprint


def test_sequence_text_keeps_order_and_ids(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("1 3 1 2 3\n2 2 1\n3 1\n")
    data = prepare(path, min_count=1)
    assert [data.sequence(row).tolist() for row in range(3)] == [[3, 1, 2, 3], [2, 1], [1]]
    assert list(data.item_ids) == [1, 2, 3]
    assert data.times is None
    path.write_text("9 30 4\n7 200 30\n")
    data = prepare(path, min_count=1)
    assert outside(data) == {7: [200, 30], 9: [30, 4]}
    assert list(data.item_ids) == [4, 30, 200]


def test_result_can_live_on_disk(tmp_path: Path) -> None:
    table = frame(random_log(True))
    data = prepare(table, directory=tmp_path / "out", name="mine")
    assert data.name == "mine"
    assert data.fingerprint == prepare(table).fingerprint
    assert isinstance(data.items.base, np.memmap)
