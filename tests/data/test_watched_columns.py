"""Columns that are not read: amounts, kinds of events and ratings are counted alike by every engine, and reported."""

import shlex
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.data.conditions import parsed
from mclrec.data.intake import Intake, Watched
from mclrec.data.intake_text import intake_lines, intake_warnings
from mclrec.data.loading import prepare
from mclrec.data.readers import read_log
from mclrec.data.watched_columns import Watching, watched_columns, watched_in_frame
from mclrec.data.watched_text import watched_warnings
from mclrec.errors import MclrecWarning
from mclrec.wording import by_command

pytestmark = pytest.mark.filterwarnings("ignore::mclrec.errors.MclrecWarning")

Rows = dict[str, list[Any]]


def log_of(**columns: list[Any]) -> Rows:
    count = len(next(iter(columns.values())))
    ids = {"user": [place % 3 for place in range(count)], "item": [place % 5 for place in range(count)]}
    return {**ids, "time": list(range(count)), **columns}


def sources(rows: Rows, folder: Path) -> Iterator[tuple[str, Any]]:
    """The rows in every kind of file and frame that has columns."""
    frame = pl.DataFrame(rows)
    frame.write_csv(folder / "log.csv")
    frame.write_csv(folder / "log.tsv", separator="\t")
    frame.write_ndjson(folder / "log.jsonl")
    frame.write_parquet(folder / "log.parquet")
    (folder / "parts").mkdir(exist_ok=True)
    half = len(frame) // 2
    frame[:half].write_csv(folder / "parts" / "a.csv")
    frame[half:].select(reversed(frame.columns)).write_csv(folder / "parts" / "b.csv")
    for name in ("log.csv", "log.tsv", "log.jsonl", "log.parquet", "parts"):
        yield name, folder / name
    yield "polars", frame
    yield "lazy", frame.lazy()
    yield "pandas", pd.DataFrame(rows)
    yield "pyarrow", frame.to_arrow()
    yield "duckdb", duckdb.sql("SELECT * FROM frame")


def taken(source: Any, **options: Any) -> Intake:
    found = prepare(source, min_count=1, **options).taken
    assert found is not None
    return found


def warned(intake: Intake) -> dict[str, str]:
    return dict(intake_warnings(intake))


def test_returns_are_told_on_every_engine(tmp_path: Path) -> None:
    rows = log_of(quantity=[1, 2, -1, 0, 3, -2], price=[2.5, 0.0, 1.0, 2.0, 2.0, 1.5])
    for name, source in sources(rows, tmp_path):
        found = taken(source)
        assert found.watched[0] == Watched(kind="amounts", name="quantity", rows=6, below=2, zero=1), name
        assert found.watched[1] == Watched(kind="amounts", name="price", rows=6, zero=1), name
        text = warned(found)["amounts"]
        assert text.startswith("quantity is below zero in 2 of 6 rows (33 %) and zero in 1 (17 %)"), name
        assert '--where "quantity > 0" leaves them out' in text
        assert dict(intake_lines(found))["amounts"].startswith("quantity: below zero in 2 of 6 rows")
        if name != "duckdb":
            chosen = taken(source, where="quantity > 0")
            assert "amounts" not in warned(chosen), name
            assert chosen.left.rows == 3, name
    for engine in ("polars", "pandas", "duckdb"):
        assert taken(tmp_path / "log.csv", engine=engine).watched == found.watched
        assert taken(tmp_path / "log.parquet", engine=engine).watched == found.watched


def test_kinds_of_events_are_told_with_their_shares(tmp_path: Path) -> None:
    kinds = ["view"] * 5 + ["cart"] * 3 + ["purchase", "purchase", "remove_from_cart", "remove_from_cart"]
    for name, source in sources(log_of(event_type=kinds), tmp_path):
        found = taken(source)
        assert warned(found)["events"] == (
            "column event_type holds kinds of events (view 42 %, cart 25 %, purchase 17 %, remove_from_cart 17 %), and "
            "all are treated alike; --where \"event_type = 'purchase'\" keeps one kind"
        ), name
        if name != "duckdb":
            chosen = taken(source, where="event_type = 'purchase'")
            assert "events" not in warned(chosen)
            assert chosen.read.rows == 12
            assert chosen.left.rows == 2


@pytest.mark.parametrize(
    ("name", "values", "condition"),
    [
        ("behavior", [1, 2, 3, 4, 1, 1, 1, 2, 4], "behavior = 3"),
        ("clicked", [0, 0, 1, 0, 0, 1, 0], "clicked = 1"),
        ("is_click", [False, True, False, True, False], "is_click = true"),
        ("is_refund", [0, 0, 1, 0, 0, 1, 0], "is_refund = 0"),
        ("status", ["delivered", "returned", "delivered", "returned"], "status = 'delivered'"),
        ("Action", ["Buy", "Return", "Buy", "Return", "Buy"], "Action = 'Buy'"),
    ],
)
def test_the_condition_of_a_warning_takes_the_rows(
    tmp_path: Path, name: str, values: list[Any], condition: str
) -> None:
    for form, source in sources(log_of(**{name: values}), tmp_path):
        if form in ("log.csv", "log.jsonl", "pandas"):
            text = warned(taken(source))["events"]
            assert f'--where "{condition}"' in text, form
            assert 0 < taken(source, where=condition).left.rows < len(values), form


def test_ratings_are_a_line_and_no_warning(tmp_path: Path) -> None:
    for name, source in sources(log_of(rating=[5, 4, 1, 3, 5, 1]), tmp_path):
        found = taken(source)
        assert dict(intake_lines(found))["ratings"] == (
            "rating from 1 to 5: 50 % of rows are below 4 and count like the others; "
            '--where "rating >= 4" leaves them out'
        ), name
        assert not {"ratings", "events", "amounts"} & set(warned(found))


def test_columns_that_say_nothing_and_such_that_cannot_be_read(tmp_path: Path) -> None:
    rows = log_of(
        quantity=[1, 2, 1, 3], type=["a", "b", "c", "d"], status=["x", "x", "x", "x"], price=[0, 1, 2, 3]
    )
    for name, source in sources(rows, tmp_path):
        assert not {"amounts", "events"} & set(warned(taken(source))), name
    odd = pd.DataFrame({**log_of(quantity=[1, 2, 3, 4]), "event": [np.datetime64(1, "s"), "a", {}, None]})
    assert [found.name for found in taken(odd).watched] == ["quantity"]
    lists = pl.DataFrame({"user": [1, 2], "items": [[1, 2], [3]], "event": ["a", "b"]})
    assert taken(lists, columns={"history": "items"}).watched == ()


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    rows = log_of(Qty=["-1", " -2 ", "0", "1,5", "-0,5", "NULL", "", "many"])
    pl.DataFrame(rows).write_csv(tmp_path / "log.csv")
    [of_file], [of_frame] = taken(tmp_path / "log.csv").watched, taken(pl.DataFrame(rows)).watched
    assert of_file == of_frame == Watched(kind="amounts", name="Qty", rows=8, below=3, zero=1)


def test_counts_of_several_files_are_added(tmp_path: Path) -> None:
    for place, name in enumerate(("train", "valid", "test")):
        rows = {
            **log_of(quantity=[1, -1, 2], event=["buy", "view", "view"]),
            "time": [3 * place + row for row in range(3)],
        }
        pl.DataFrame(rows).write_csv(tmp_path / f"{name}.csv")
    found = taken(tmp_path / "train.csv", valid=tmp_path / "valid.csv", test=tmp_path / "test.csv")
    assert (found.watched[0].rows, found.watched[0].below) == (9, 3)
    assert found.watched[1].values == (("view", 6), ("buy", 3))


def test_python_is_warned_and_a_command_once(tmp_path: Path) -> None:
    frame = pl.DataFrame(log_of(quantity=[1, -1, 2, 1]))
    with pytest.warns(
        MclrecWarning, match='^polars frame: quantity is below zero .*; where="quantity > 0" leaves'
    ):
        prepare(frame, min_count=1)
    with by_command(), warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(frame, min_count=1)


def test_kept_and_read_again(tmp_path: Path) -> None:
    found = taken(pl.DataFrame(log_of(event=["a", "b", "a", "b"])))
    assert Intake.of_json(found.to_json(), "here") == found


@pytest.mark.parametrize(
    "name",
    [
        *(
            "quantity",
            "Quantity",
            "Order Quantity",
            "qty_ordered",
            "units",
            "total_amount",
            "sales_value",
            "count",
        ),
        *("UnitPrice", "количество quantity", "revenue", "play_count", 'odd "qty"', "it's qty", "$amount"),
    ],
)
def test_conditions_that_are_told_can_be_typed(name: str) -> None:
    assert watched_columns([name, "user"], ["user"]) == {name: "amounts"}
    [(_, text)] = watched_warnings([Watched(kind="amounts", name=name, rows=2, below=1)])
    words = shlex.split(text.partition("; ")[2].removesuffix(" leaves them out"))
    assert words[0] == "--where"
    assert list(parsed(words[1]).columns([name, "user"], "log").values()) == [name]


def test_what_was_tested_or_taken_is_not_watched() -> None:
    names = ["user", "item", "count", "event", "event:token"]
    assert watched_columns(names, ["count", "event"]) == {"event:token": "events"}
    assert watched_columns(["type", "Type"], []) == {}  # neither DuckDB nor people tell them apart


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(-3, 3) | st.none(), min_size=4, max_size=30),
    st.sampled_from([int, float]),
)
def test_engines_count_alike(values: list[int | None], kind: Callable[[int], Any]) -> None:
    column = [None if value is None else kind(value) for value in values]
    rows = log_of(quantity=column, event=column, rating=column)
    frame = pl.DataFrame(rows, schema_overrides=dict.fromkeys(("quantity", "event", "rating"), pl.Float64))
    found = taken(frame).watched
    [amounts] = [watched for watched in found if watched.kind == "amounts"]
    known = [value for value in values if value is not None]
    assert amounts.below == sum(value < 0 for value in known)
    assert amounts.zero == known.count(0)
    assert taken(frame.with_columns(pl.col("event", "rating").cast(pl.String))).watched == found
    chosen = {"quantity": "amounts", "event": "events", "rating": "ratings"}
    lazy = nw.from_native(
        frame.select("quantity", "event", "rating").rename(dict(zip(chosen, "012", strict=True))).lazy()
    )
    assert watched_in_frame(lazy, chosen) == found  # type: ignore[arg-type]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from([-2, 0, 1, 3]) | st.none(), min_size=4, max_size=30),
    st.sampled_from([str, bool, int, float, "{},5".format, " {} ".format]),
)
def test_engines_take_the_same_values_for_amounts(
    values: list[int | None], kind: Callable[[int], Any]
) -> None:
    column = [None if value is None else kind(value) for value in values]
    table = pa.table({"0": pa.array(column)})
    counted = Watching({"quantity": "amounts"})
    counted.add([table["0"].combine_chunks()])
    lazy = nw.from_native(pl.DataFrame(table).lazy())
    assert watched_in_frame(lazy, {"quantity": "amounts"}) == counted.found()


def test_no_type_of_a_watched_column_stops_the_reading(tmp_path: Path) -> None:
    """A column that nobody asked for is counted or skipped, whatever its type."""
    when = datetime(2024, 1, 1, tzinfo=UTC)
    kinds = [
        pa.array([[1], [2], None, [3]]),
        pa.array([{"a": 1}, None, {"a": 2}, {"a": 3}]),
        pa.array([b"\xff", b"a", None, b"c"]),
        pa.array([when, when, None, when]),
        pa.array([Decimal("-1.50"), Decimal("0.00"), None, Decimal("2.25")]),
        pa.array(["a", "b", None, "a"]).dictionary_encode(),
        pa.array([None] * 4),
        pa.array([float("nan"), float("-inf"), -0.0, None]),
        pa.array([timedelta(1)] * 4),
        pa.array([True, False, None, True]),
        pa.array([2**64 - 1, 0, 1, None], pa.uint64()),
    ]
    base = {"user": [1, 1, 2, 2], "item": [1, 2, 1, 2], "time": [1, 2, 3, 4]}
    for kind in kinds:
        table = pa.table({**base, "quantity": kind, "event": kind, "rating": kind})
        pq.write_table(table, tmp_path / "log.parquet")
        found = []
        for form in (table, tmp_path / "log.parquet", table.to_pandas(), pl.from_arrow(table)):
            with read_log(form) as log:
                found.append(log.found.watched)
        assert found[0] == found[1], kind.type


def test_ratings_with_a_decimal_comma(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user;item;time;rating\n1;a;1;4,5\n1;b;2;3\n1;c;3;4.5\n1;d;4;1,0\n")
    found = taken(path)
    assert found.watched[0].values == (("4.5", 2), ("1.0", 1), ("3", 1))
    assert dict(intake_lines(found))["ratings"].startswith("rating from 1 to 4.5: 50 % of rows are below 4 ")
