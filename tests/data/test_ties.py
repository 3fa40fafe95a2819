"""Rows with equal times are in an order that reveals nothing, the same on every engine and however the log grows."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.logs import hash_of

import mclrec
from mclrec.data import packed
from mclrec.data.columns import Columns
from mclrec.data.intake_text import intake_warnings
from mclrec.data.loading import prepare
from mclrec.data.origin import Reading
from mclrec.data.packed import run_blocks
from mclrec.data.sequences import SequenceData
from mclrec.errors import ConfigError, DataError

Row = tuple[Any, Any, int]


def outside(data: SequenceData) -> dict[Any, list[Any]]:
    return {
        data.user_ids[row + 1]: [data.item_ids[item] for item in data.sequence(row)]
        for row in range(data.num_users)
    }


def naive(rows: list[Row]) -> dict[Any, list[Any]]:
    found = defaultdict(list)
    for user, item, _ in sorted(rows, key=lambda row: (row[2], hash_of(*row))):
        found[user].append(item)
    return dict(found)


IDS = st.integers(-3, 5) | st.integers(-(2**60), 2**60)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), names=st.booleans())
def test_order_is_that_of_the_hash_and_other_rows_do_not_matter(data: st.DataObject, names: bool) -> None:
    ids = NAMES if names else IDS
    row = st.tuples(
        st.sampled_from(data.draw(st.lists(ids, min_size=1, max_size=3))), ids, st.integers(-1, 2)
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=40))
    assert outside(prepare(_frame(rows), min_count=1)) == naive(rows)
    some = rows[: len(rows) // 2 + 1]
    whole, part = naive(rows), outside(prepare(_frame(some), min_count=1))
    for user, items in part.items():
        rest = iter(whole[user])
        assert all(item in rest for item in items)  # in the same order


def _frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")


def test_blocks_split_no_tie(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(3)
    rows = [(draw.randrange(4), draw.randrange(30), draw.choice([0, 1, 1, 1, 2, 3])) for _ in range(400)]
    whole = outside(prepare(_frame(rows), min_count=1))
    monkeypatch.setattr(packed, "_BLOCK", 7)
    assert outside(prepare(_frame(rows), min_count=1)) == whole == naive(rows)


@given(same=st.lists(st.booleans(), max_size=30))
def test_run_blocks_cover_everything_and_split_no_run(same: list[bool]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_BLOCK", 4)
        blocks = list(run_blocks(np.array(same, np.bool_)))
    assert [place for block in blocks for place in range(block.start, block.stop)] == list(range(len(same)))
    assert not any(same[block.start] for block in blocks[1:])
    assert all(block.stop - block.start >= 4 for block in blocks[:-1])


def test_text_that_integers_become_keeps_the_order(tmp_path: Path) -> None:
    lines = [f"7,{item},5" for item in range(20)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,time", *lines]) + "\n")
    before = outside(prepare(tmp_path / "log.csv", min_count=1))[7]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,time", *lines, "new,new,9"]) + "\n")
    assert [int(item) for item in outside(prepare(tmp_path / "log.csv", min_count=1))["7"]] == before


def test_the_same_event_twice_stays_side_by_side() -> None:
    rows = [(1, item, 5) for item in range(50)] * 2
    items = outside(prepare(_frame(rows), min_count=1))[1]
    assert items[::2] == items[1::2]


def test_sequence_column_goes_before_the_hash() -> None:
    rows = [(1, item, 5, item % 3) for item in range(30)]
    table = pl.DataFrame(rows, schema=["user", "item", "time", "place"], orient="row")
    for frame in (table, table.with_columns(pl.col("place").cast(pl.String))):
        items = outside(prepare(frame, min_count=1, columns=Columns(sequence="place")))[1]
        assert items == sorted(range(30), key=lambda item: (item % 3, hash_of(1, item, 5)))


# -------------------------------------------------------------------------------- order of the file


def test_order_of_the_file(tmp_path: Path) -> None:
    draw = random.Random(5)
    rows = [(draw.randrange(3), draw.randrange(40), 1_400_000_000 + draw.randrange(4)) for _ in range(200)]
    expected = defaultdict(list)
    for user, item, _ in sorted(rows, key=lambda row: row[2]):
        expected[user].append(item)
    table = _frame(rows)
    table.write_csv(tmp_path / "log.csv")
    table.write_csv(tmp_path / "bare.csv", include_header=False)
    table.write_parquet(tmp_path / "log.parquet")
    table.write_ndjson(tmp_path / "log.jsonl")
    files = [tmp_path / name for name in ("log.csv", "bare.csv", "log.parquet", "log.jsonl")]
    for source in (*files, table, table.to_pandas()):
        data = prepare(source, min_count=1, ties="file")
        assert outside(data) == expected
        assert data.taken is not None
        assert data.taken.tie_order == "order in the log"
    for engine in ("polars", "pandas"):
        assert outside(prepare(files[0], min_count=1, ties="file", engine=engine)) == expected


def test_order_of_the_file_is_refused_where_there_is_none() -> None:
    table = _frame([(1, 1, 1)])
    with pytest.raises(DataError, match="lazy frame have no order"):
        prepare(table.lazy(), ties="file")
    with pytest.raises(ConfigError, match="sequence column 'item'; leave out one"):
        prepare(table, ties="file", columns=Columns(sequence="item"))
    with pytest.raises(ConfigError, match="ties"):
        prepare(table, ties="fiel")  # type: ignore[arg-type]


def test_files_of_one_user_a_line_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("1 3 1 2 3\n2 2 1\n")
    for reading in (Reading(), Reading(ties="hash"), Reading(ties="file")):
        assert outside(prepare(tmp_path / "log.txt", reading=reading, min_count=1)) == {
            1: [3, 1, 2, 3],
            2: [2, 1],
        }


@pytest.mark.slow
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40
    ),
    file=st.booleans(),
)
def test_an_event_written_twice_is_one(rows: list[Row], file: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_BLOCK", 5)
        given_once, given_twice = (
            prepare(_frame(some), min_count=1, ties="file" if file else "hash", drop_duplicates=True)
            for some in (list(dict.fromkeys(rows)), rows)
        )
    assert outside(given_twice) == outside(given_once)
    assert given_twice.taken is not None
    [step] = given_twice.taken.steps
    assert (step.rule, step.option, step.left.rows) == ("duplicates", "--drop-duplicates", len(set(rows)))


def test_duplicates_need_times(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("1 3 1 3\n")
    with pytest.raises(DataError, match="is read without times"):
        prepare(tmp_path / "log.txt", min_count=1, drop_duplicates=True)


def test_many_ties_are_told() -> None:
    rows = [(user, item, item // 2) for user in range(150) for item in range(20)]
    orders: dict[Any, str] = {None: "a hash", "hash": "a hash, as asked", "file": "order in the log"}
    for ties, order in orders.items():
        taken = prepare(_frame(rows), ties=ties).taken
        assert taken is not None
        assert (taken.left.tied, taken.tie_order) == (1, order)
        assert [warned.kind for warned in intake_warnings(taken)] == (["ties"] if ties is None else [])


# -------------------------------------------------------------------------------- chance stays chance

_USERS, _ITEMS, _ROWS = 800, 300, 24


def _chance() -> pl.DataFrame:
    """A log of uniformly drawn items, four of a user's at each time."""
    rng = np.random.default_rng(11)
    users = np.repeat(np.arange(_USERS), _ROWS)
    items = np.concatenate([rng.permutation(_ITEMS)[:_ROWS] for _ in range(_USERS)])
    return pl.DataFrame({"user": users, "item": items, "time": np.arange(len(users)) % _ROWS // 4})


def _hits(data: SequenceData, model: str, **settings: Any) -> float:
    """Hits in the top 10 of a trained model, in standard deviations from chance."""
    run = mclrec.train(data, model, progress=False, **settings)
    chance = 10 / (_ITEMS - _ROWS + 1)  # items of the history are not candidates
    found = run.metrics["F"]["HR@10"] * _USERS
    return float((found - _USERS * chance) / np.sqrt(_USERS * chance * (1 - chance)))


@pytest.mark.parametrize("model", ["markov", pytest.param("sasrec", marks=pytest.mark.slow)])
def test_chance_stays_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = {} if model == "markov" else {"unit": "sequences", "epochs": 40, "hidden_size": 32}
    table = _chance()
    assert abs(_hits(prepare(table, ties="hash"), model, **tiny)) < 3
    by_id = prepare(table.sort("user", "time", "item"), ties="file")
    assert _hits(by_id, model, **tiny) > 4  # an order by id leaks information


def test_ids_of_equal_rows_are_in_no_order() -> None:
    data = prepare(_chance(), ties="hash")
    rising = sum(a < b for row in range(data.num_users) for a, b in pairwise(data.sequence(row).tolist()))
    pairs = data.num_interactions - data.num_users
    assert abs(rising - pairs / 2) < 4 * np.sqrt(pairs / 4)
