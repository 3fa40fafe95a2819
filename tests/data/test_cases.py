"""Small logs in the formats of real data sets: every engine reads each as a person would."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
from tests.data.test_readers import sequences

from mclrec.data.columns import Columns
from mclrec.data.loading import prepare
from mclrec.errors import DataError, MclrecWarning

CASES = Path(__file__).parent / "cases"
ENGINES = ("duckdb", "polars", "pandas")
SIX = {
    1: [2, 3, 1, 5, 6, 4],
    2: [2, 1, 5, 4, 6, 3],
    3: [1, 2, 3, 5, 6, 4],
    4: [3, 2, 1, 6, 5, 4],
    5: [2, 6, 3, 5, 4, 1],
    6: [5, 3, 4, 6, 1, 2],
}
CLICKS = "%a %b %d %H:%M:%S %z %Y"


def written(user: str = "{}", item: str = "{}") -> dict[str, list[str]]:
    """The six sequences, with user and item ids formatted as a log writes them."""
    return {user.format(u): [item.format(i) for i in items] for u, items in SIX.items()}


def shifted(by: int) -> dict[int, list[int]]:
    return {user: [item + by for item in items] for user, items in SIX.items()}


def check(name: str, expected: Any, **options: Any) -> None:
    """Assert that each engine reads the expected sequences from a case."""
    for engine in ENGINES:
        found = sequences(CASES / name, engine=engine, **options)
        assert found == expected, engine


@pytest.mark.parametrize("name", ["yelp.csv", "comma.inter", "text_time.parquet", "parts"])
def test_names_of_columns_are_known(name: str) -> None:
    check(name, SIX)


def test_kinds_of_events() -> None:
    with pytest.warns(
        MclrecWarning,
        match=r"column event .*\(view 83 %, transaction 17 %\).*where=\"event = 'transaction'\"",
    ):
        assert sequences(CASES / "retailrocket_types.csv") == SIX
    viewed = {user: [item for item in items if item != 6] for user, items in SIX.items()}
    check("retailrocket_types.csv", viewed, where="event = 'view'")
    check("retailrocket_types.csv", {user: [6] for user in SIX}, where="event <> 'view'")


def test_check_ins() -> None:
    check("gowalla.txt", shifted(22847))
    check("gowalla.txt", shifted(22847), columns=Columns(user="1", time="2", item="5"))
    check("gowalla.txt", shifted(22847), columns=Columns(item="5"), header=False)


def test_pairs_in_order() -> None:
    check("sasrec_pairs.txt", SIX)
    check("sasrec_pairs.txt", SIX, columns=Columns(file_order=True))


def test_latin_1() -> None:
    venues = {user: [f"49bb{item:02}" for item in items] for user, items in SIX.items()}
    check("foursquare_latin1.txt", venues, encoding="latin-1", time_format=CLICKS)
    with pytest.raises(
        DataError, match=r"latin1\.txt:1: is not UTF-8 text \(byte 0xe9\).*encoding='latin-1'"
    ):
        prepare(CASES / "foursquare_latin1.txt", time_format=CLICKS)
    with pytest.raises(
        DataError, match=r":1: time 'Tue Apr .*time_format='%a %b %d %H:%M:%S %z %Y' would read it"
    ):
        prepare(CASES / "foursquare_latin1.txt", encoding="latin-1")


def test_quotes_in_names() -> None:
    tracks = {f"user_{user:06}": [f"t{item}" for item in items] for user, items in SIX.items()}
    check("lastfm1k_refused.tsv", tracks, columns=Columns(item="5"))
    check("lastfm1k_refused.tsv", tracks, columns=Columns(item="5"), quote="none")
    with pytest.warns(
        MclrecWarning, match=r"took column 3 as the item \(it could also be 4 or 5\).*--item-column"
    ):
        prepare(CASES / "lastfm1k_refused.tsv", min_count=1)


def test_lists_in_one_field() -> None:
    check("otto.jsonl", SIX)
    check("otto.jsonl", SIX, columns=Columns(history="events", item="aid", time="ts"))
    lists = {f"U{user}": ["N1", "N2", "N3"] for user in SIX}
    check("mind_behaviors.tsv", lists, columns=Columns(user="2", history="4"))
    check("mind_behaviors.tsv", lists, columns=Columns(history="4"))
    followed = {session: [1, 2, 3, session] for session in SIX}
    check("recbole_token_seq.inter", followed)
    check("recbole_token_seq.inter", followed, columns=Columns(history="item_id_list"))


@pytest.mark.parametrize("name", ["item", "item_id", "items"])
def test_json_lists_are_histories_whatever_they_are_called(name: str, tmp_path: Path) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_text(
        "".join(json.dumps({"user": user, name: items}) + "\n" for user, items in SIX.items()),
        encoding="utf-8",
    )
    assert sequences(path) == SIX


def test_long_times() -> None:
    books = {f"{user:08}": items for user, items in SIX.items()}
    check("goodreads_time.jsonl", books, time_format=CLICKS)
    with pytest.raises(
        DataError, match=r"jsonl:1: time 'Tue Apr .*time_format='%a %b %d %H:%M:%S %z %Y' would"
    ):
        prepare(CASES / "goodreads_time.jsonl")


@pytest.mark.parametrize(("name", "user"), [("steam_literal.json", "user{}"), ("date.parquet", "{}")])
def test_days_are_times(name: str, user: str) -> None:
    found = sequences(CASES / name)
    assert {str(key): sorted(items) for key, items in found.items()} == {
        user.format(number): [1, 2, 3, 4, 5, 6] for number in SIX
    }
    assert prepare(CASES / name, min_count=1).times is not None


def test_words_for_nothing() -> None:
    with pytest.raises(
        DataError,
        match=r"incomplete rows: 6 without item; the first is line 2: fix them, or use drop_missing",
    ):
        prepare(CASES / "null_words.csv")
    left = {user: items[1:] for user, items in SIX.items()}
    check("null_words.csv", left, drop_missing=True)
    intake = prepare(CASES / "null_words.csv", drop_missing=True, min_count=1).intake
    assert intake is not None
    [step] = [step for step in intake.steps if step.rule == "missing"]
    assert (intake.read.rows, step.left.rows, step.option) == (36, 30, "--drop-missing")


def test_item_first() -> None:
    with pytest.warns(MclrecWarning, match=r"took column 2 as the user and 1 as the item .*--user-column"):
        check("amazon2018_item_first.csv", written("A{:04}", "B{:04}"))
    with warnings.catch_warnings():
        check("amazon2018_item_first.csv", written("A{:04}", "B{:04}"), columns=Columns(user="2", item="1"))
        swapped = sequences(CASES / "amazon2018_item_first.csv", columns=Columns(user="1", item="2"))
        assert set(swapped) == {f"B{item:04}" for item in range(1, 7)}


def test_ids_beyond_floats() -> None:
    check("snowflake.csv", shifted(2**53))


def test_a_pattern_is_one_log() -> None:
    check("parts/*.csv", SIX)
    check("parts/day?.csv", SIX, columns=Columns(user="user_id"), header=True)


@pytest.mark.parametrize("name", ["date.parquet", "text_time.parquet"])
def test_frames_are_read_as_files(name: str) -> None:
    path = CASES / name
    wanted = prepare(path, min_count=1)
    relation = duckdb.sql(f"SELECT * FROM '{path}'")
    for frame in (pl.read_parquet(path), pl.scan_parquet(path), pd.read_parquet(path), relation):
        found = prepare(frame, min_count=1)
        assert found.same_rows(wanted)
