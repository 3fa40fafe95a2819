"""Conditions on columns mean the same in every format and engine; anything but an expression is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mclrec.data.columns import Columns
from mclrec.data.loading import prepare
from mclrec.data.origin import Origin, Reading
from mclrec.data.raw_tables import frame_table
from mclrec.data.wanted_rows import WantedRows
from mclrec.errors import ConfigError, DataError, MclrecWarning

# The rows hold several kinds of events, which most conditions do not choose among: reading them warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*kinds of events:mclrec.errors.MclrecWarning")

ROWS: list[dict[str, Any]] = [
    {"user": 1, "item": 10, "time": 1, "rating": 3.5, "event": "view", "day": "2024-01-09", "note": None},
    {
        "user": 1,
        "item": 20,
        "time": 2,
        "rating": 4.0,
        "event": "purchase",
        "day": "2024-01-10",
        "note": "a,b",
    },
    {"user": 1, "item": 30, "time": 3, "rating": 10.0, "event": "view", "day": "2024-02-01", "note": "it's"},
    {"user": 2, "item": 20, "time": 4, "rating": None, "event": "purchase", "day": None, "note": "NA"},
    {"user": 2, "item": 40, "time": 5, "rating": 5.0, "event": "purchase", "day": "2024-03-01", "note": "é"},
]


def _csv(rows: list[dict[str, Any]], folder: Path) -> Path:
    pl.DataFrame(rows).write_csv(folder / "log.csv")
    return folder / "log.csv"


def _jsonl(rows: list[dict[str, Any]], folder: Path) -> Path:
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder / "log.jsonl"


def _dicts(rows: list[dict[str, Any]], folder: Path) -> Path:
    (folder / "dicts.json").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return folder / "dicts.json"


def _mixed(rows: list[dict[str, Any]], folder: Path) -> Path:
    """Text with mixed line endings, which is read in Python."""
    text = _csv(rows, folder).read_text(encoding="utf-8").splitlines()
    (folder / "mixed.csv").write_text("\r\n".join(text[:2]) + "\r\n" + "\n".join(text[2:]) + "\n", newline="")
    return folder / "mixed.csv"


def _parquet(rows: list[dict[str, Any]], folder: Path) -> Path:
    pl.DataFrame(rows).with_columns(pl.col("day").str.to_date()).write_parquet(folder / "log.parquet")
    return folder / "log.parquet"


def _relation(rows: list[dict[str, Any]], folder: Path) -> Any:
    return duckdb.connect().from_arrow(pa.Table.from_pylist(rows))


FORMS: dict[str, Callable[[list[dict[str, Any]], Path], Any]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "dicts": _dicts,
    "mixed": _mixed,
    "parquet": _parquet,
    "polars": lambda rows, _: pl.DataFrame(rows),
    "lazy": lambda rows, _: pl.LazyFrame(rows),
    "pandas": lambda rows, _: pd.DataFrame(rows),
    "pyarrow": lambda rows, _: pa.Table.from_pylist(rows),
    "duckdb": _relation,
}
CONDITIONS = {
    "rating >= 4 OR note = 'NA'": [20, 30, 20, 40],
    "item % 20 = 0 AND event <> 'view' AND note IS NOT NULL": [20, 20, 40],
    "day >= '2024-01-10' AND coalesce(rating, 0) < 10": [20, 40],
    "item = '20'": [20, 20],
    "rating >= 4": [20, 30, 40],
    "4 <= rating": [20, 30, 40],
    "rating > 3.5 AND event = 'purchase'": [20, 40],
    "event = 'purchase'": [20, 20, 40],
    "event <> 'purchase' OR rating IS NULL": [10, 30, 20],
    "event IN ('view', 'other')": [10, 30],
    "event NOT IN ('view')": [20, 20, 40],
    "rating IN (4, 5) -- good ones": [20, 40],
    "rating BETWEEN 3.6 AND 5": [20, 40],
    "NOT rating >= 4": [10],
    "item % 20 = 0": [20, 20, 40],
    "item LIKE '2%'": [20, 20],
    "upper(event) LIKE 'V%'": [10, 30],
    "day >= '2024-01-10'": [20, 30, 40],
    "day >= DATE '2024-01-10' AND month(day::DATE) < 3": [20, 30],
    "note = 'it''s'": [30],
    "note IS NULL": [10],
    "trim(event) = 'view' AND substring(event, 2) = 'iew'": [10, 30],
    "trim(LEADING 'v' FROM event) = 'iew' AND position('w' IN event) = 4": [10, 30],
    "extract(year FROM day::DATE) = 2024 AND length(note) = 1": [40],
    "note = 'NA' OR contains(note, ',')": [20, 20],
    "CASE WHEN event = 'view' THEN rating > 5 ELSE rating < 5 END": [20, 30],
    "coalesce(rating, 0) = 0": [20],
    "RATING >= 4": [20, 30, 40],
    'cast("rating" AS DOUBLE) * 2 + 1 > 10': [30, 40],
}


def items(source: Any, where: str, **options: Any) -> list[int]:
    data = prepare(source, min_count=1, where=where, **options)
    return [int(data.item_ids[int(code)]) for code in data.items]


@pytest.mark.parametrize("form", FORMS)
def test_a_condition_means_the_same_in_every_format(form: str, tmp_path: Path) -> None:
    source = FORMS[form](ROWS, tmp_path)
    every = len(CONDITIONS) if form == "csv" else 3
    for where, expected in list(CONDITIONS.items())[:every]:
        assert items(source, where) == expected, where


def test_conditions_of_columns_with_types() -> None:
    table = pl.DataFrame(ROWS).with_columns(pl.col("day").str.to_date())
    for where, expected in CONDITIONS.items():
        found = WantedRows(frame_table(table), where).read([1])
        assert [item for [column] in found.batches for item in column.to_pylist()] == expected, where


@example(0.053620605839767244, 0.1)  # more digits than DuckDB converts exactly from decimal to double
@given(
    st.floats(1e-9, 1e12) | st.integers(1, 10**6).map(lambda cents: cents / 100),
    st.floats(0, 1) | st.just(1e-9),
)
@settings(max_examples=12, deadline=None)
def test_a_number_in_a_condition_is_that_number(value: float, other: float) -> None:
    near = [math.nextafter(value, -math.inf), value, math.nextafter(value, math.inf)]
    values = [sign * one for sign in (1, -1) for one in (*near, other)]
    rows = [{"user": 1, "item": place, "time": place, "rating": one} for place, one in enumerate(values)]
    table = pl.DataFrame(rows)
    tests: dict[str, Callable[[float, float], bool]] = {
        "=": lambda x, y: x == y,
        "<": lambda x, y: x < y,
        ">=": lambda x, y: x >= y,
    }
    for texts in (table, table.with_columns(pl.col("rating").cast(pl.String))):
        for sign, holds in tests.items():
            for constant in (value, -value):
                found = WantedRows(frame_table(texts), f"rating {sign} {constant!r}").read([1])
                kept = [item for [column] in found.batches for item in column.to_pylist()]
                assert kept == [place for place, one in enumerate(values) if holds(one, constant)]


def test_a_condition_is_the_first_rule(tmp_path: Path) -> None:
    lacking = [*ROWS, {**ROWS[0], "item": None}, {**ROWS[1], "item": None}]
    for form in ("csv", "jsonl", "parquet", "polars"):
        source = FORMS[form](lacking, tmp_path)
        data = prepare(source, min_count=1, where="event = 'purchase'", drop_missing=True)
        assert data.intake is not None
        steps = [(step.rule, step.option, step.left.rows) for step in data.intake.steps]
        assert data.intake.read.rows == 7
        assert steps == [("where", "--where \"event = 'purchase'\"", 4), ("missing", "--drop-missing", 3)]
        with pytest.raises(DataError, match=r"1 without item; the first is .*(8|7)"):
            prepare(source, min_count=1, where="event = 'purchase'")
        assert len(prepare(source, min_count=1, where="item is not null").items) == 5


def test_files_of_one_log_and_lists(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.csv").write_text("user,item,time,kind\n1,10,1,x\n1,20,2,y\n")
    (folder / "b.csv").write_text("kind,user,item,time\nx,2,30,1\ny,2,40,\n")
    assert items(folder, "kind = 'x'") == [10, 30]
    with pytest.raises(DataError, match=r"b\.csv:3|line 3"):
        prepare(folder, min_count=1, where="kind = 'y'")
    lists = tmp_path / "lists.jsonl"
    lists.write_text('{"user": 1, "items": [1, 2], "kind": "x"}\n{"user": 2, "items": [3, 4], "kind": "y"}\n')
    assert items(lists, "kind = 'y'", columns=Columns(history="items")) == [3, 4]
    table = pa.table({"user": [1, 2], "items": [[1, 2], [3, 4]], "kind": ["x", "y"]})
    assert items(table, "kind = 'y'", columns=Columns(history="items")) == [3, 4]
    plain = tmp_path / "plain.csv"
    plain.write_text("1,10,5,1700000000\n1,20,3,1700000001\n")
    assert items(plain, '"3" >= 4') == [10]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("rating >= ", "syntax error"),
        ("", "is not an expression|syntax error|not a single expression"),
        ("rating >= 4; DROP TABLE log", "syntax error"),
        ("rating >= 4) OR (rating < 2", "not a single expression"),
        ("rating >= 4) UNION SELECT (1", "not a single expression"),
        ("rating >= 4) FROM read_csv('/etc/passwd') WHERE (true", "not a single expression"),
        ("rating) OVER (", "not a single expression"),
        ("rating) FILTER (WHERE true", "not a single expression"),
        ("rating, event", "not a single expression"),
        ("DISTINCT rating", "not a single expression"),
        ("rating ORDER BY event", "not a single expression"),
        ("good := rating > 3", "alias 'good'|not a single expression"),
        ("rating > (SELECT 3)", "a subquery"),
        ("rating IN (SELECT 3)", "a subquery"),
        ("EXISTS (FROM log)", "a subquery"),
        ("rating > sum(rating)", "'sum'"),
        ("row_number() OVER () > 3", "a window function"),
        ("getenv('HOME') = event", "'getenv'"),
        ("length(read_text('/etc/passwd')) > rating", "'read_text'"),
        ("random() < 0.5", "'random'"),
        ("other.lower(event) = 'x'", "anything but plain arguments"),
        ("rating = $1", "a parameter"),
        ("COLUMNS('r.*') > 3", r"\*"),
        ("event COLLATE NOCASE = 'x'", "collate"),
        ("list_filter([rating], lambda x: x > 3) = [1]", "'list_filter'|lambda"),
        ("rating > INTERVAL 1 DAY", "INTERVAL|to_days"),
        ("x'\0'", "NUL"),
        ("rating = " + "(" * 5000 + "1" + ")" * 5000, "10000|nested|pars"),
        ("rating > 3 AND 1", "not a condition"),
        ("event", "'view' is neither true nor false"),
        ("1 = 1", "names no column"),
        ("ratin > 3", "unknown column 'ratin'; did you mean 'rating'"),
        ('event = "view"', "single quotes"),
        ("event > 3", "event 'view' is not a number"),
        ("rating > 'x'", "where a number|not a number|none of"),
        ("rating >= '4'", "write numbers without quotes"),
        ("event = ''", "IS NULL"),
        ("event > day", "say what to compare them as"),
        ("event = 'never'", "true for none of the 5 rows"),
        ("regexp_matches(event, '(')", "where: "),
        ("CAST(event AS INTEGER) = 3", "Could not convert"),
        ("rating.x > 3", "unknown column 'rating.x'"),
        ("round(rating, event) = 3", "not a number"),
        ("item = 99999999999999999999999999999999999999999", "true for none"),
    ],
)
def test_what_is_no_condition_is_refused_in_a_line(where: str, says: str, tmp_path: Path) -> None:
    for form in ("csv", "parquet"):
        rows = [{**row, "rating": row["rating"] or 1.0} for row in ROWS] if form == "csv" else ROWS
        source = FORMS[form](rows, tmp_path)
        if where == "event > day" and form == "parquet":
            continue
        with pytest.raises((DataError, ConfigError), match=says) as problem:
            prepare(source, min_count=1, where=where)
        assert len(str(problem.value).splitlines()) <= 2


def test_many_digits_are_no_number(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,time,ref\n1,10,1,9007199254740993\n1,20,2,5\n")
    with pytest.raises(DataError, match=r"log\.csv:2: .*more digits"):
        prepare(path, min_count=1, where="ref = 9007199254740992")
    assert items(path, "ref = '9007199254740993'") == [10]


def test_a_condition_travels() -> None:
    reading = Reading(where="rating >= 4")
    assert reading.words() == ["--where", "rating >= 4"]
    origin = Origin(kind="file", place="log.csv", path="/log.csv", reading=reading, fingerprint="x")
    assert Origin.model_validate_json(origin.model_dump_json()) == origin
    assert str(origin) == "file log.csv --where 'rating >= 4'"


def test_one_user_a_line_has_no_columns(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("1 2 3 4\n2 3 4\n")
    with pytest.raises(DataError, match="where cannot be used"):
        prepare(path, min_count=1, where="a = 1")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "polars"])
def test_kinds_of_events_are_warned_of(form: str, tmp_path: Path) -> None:
    with pytest.warns(
        MclrecWarning, match=r"column event holds .*\((purchase|view) .*where=\"event = 'purchase'"
    ):
        prepare(FORMS[form](ROWS, tmp_path), min_count=1)
