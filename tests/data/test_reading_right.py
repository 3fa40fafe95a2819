"""Files are read as a person would read them, whatever files and folders are called, and alike by every engine."""

from __future__ import annotations

import decimal
import gzip
import json
import os
import warnings
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.test_readers import sequences

from mclrec.data.columns import Columns
from mclrec.data.loading import prepare, read_again
from mclrec.errors import DataError, MclrecWarning

ENGINES = ("duckdb", "polars", "pandas")
LOG = "user,item,time\n1,a,1\n1,b,2\n"
OTHER = "user,item,time\n2,c,1\n"


def table(**columns: Any) -> pa.Table:
    return pa.table({"user": [1, 1], "item": ["a", "b"], "time": [1, 2]} | columns)


def alike(path: Path, **options: Any) -> dict[Any, list[Any]]:
    """Sequences of a log, on which all engines must agree."""
    found = [sequences(path, engine=engine, **options) for engine in ENGINES]
    assert found[0] == found[1] == found[2]
    return found[0]


def refused(path: Path, message: str, **options: Any) -> None:
    for engine in ENGINES:
        with pytest.raises(DataError, match=message):
            prepare(path, engine=engine, min_count=1, **options)


# -------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["log[1]", "log*", "log?", "{log,x}", "a=b", "lög", "l'o\"g", "log\udcff"])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl", ".parquet"])
def test_names_are_no_patterns(tmp_path: Path, name: str, ending: str) -> None:
    folder = tmp_path / "day=1" / "x[1]"
    folder.mkdir(parents=True)
    for other in ("log1", "logs", "log", "x"):
        _write(folder / (other + ending), "2", "c")
    _write(folder / (name + ending), "1", "a")
    assert sequences(folder / (name + ending)) in ({1: ["a"]}, {"1": ["a"]})


def _write(path: Path, user: str, item: str) -> None:
    text = f"user,item,time\n{user},{item},1\n"
    if ".jsonl" in path.name:
        text = json.dumps({"user": user, "item": item, "time": 1})
    content = gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode()
    if path.suffix == ".parquet":
        with path.open("wb") as file:
            pq.write_table(pa.table({"user": [user], "item": [item], "time": [1]}), file)
    else:
        path.write_bytes(content)


def test_types_of_files_in_any_case(tmp_path: Path) -> None:
    for name, content in (("X.CSV.GZ", gzip.compress(LOG.encode())), ("x.Csv", LOG.encode())):
        (tmp_path / name).write_bytes(content)
        assert sequences(tmp_path / name) == {1: ["a", "b"]}
    (tmp_path / "x.csv.gz").write_text(LOG)
    refused(tmp_path / "x.csv.gz", "is not gzipped, though its name ends with .gz")


def test_folder_names_are_no_columns(tmp_path: Path) -> None:
    folder = tmp_path / "user=9" / "item=x"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"user": [1], "time": [1]}), folder / "p.parquet")
    refused(tmp_path / "user=9", "no column looks like the item")


def test_links_do_not_repeat_rows(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (log / "below").mkdir(parents=True)
    pq.write_table(table(), log / "below" / "a.parquet")
    (log / "below" / "back").symlink_to(log)
    (log / "again.parquet").symlink_to(log / "below" / "a.parquet")
    assert alike(log) == {1: ["a", "b"]}
    assert alike(log / "*") == {1: ["a", "b"]}


def test_files_of_other_writers_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "_temporary").mkdir()
    for name in ("part.parquet", "_temporary/part.parquet", ".part.parquet", "_part.parquet"):
        pq.write_table(table(), tmp_path / name)
    assert alike(tmp_path) == {1: ["a", "b"]}


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.csv")
    refused(tmp_path / "log.csv", "is a pipe, which cannot be read twice; write it to a file first")
    (tmp_path / "folder.csv").mkdir()
    refused(tmp_path / "folder.csv", "is a folder without a log")
    (tmp_path / "device.csv").symlink_to("/dev/null")
    refused(tmp_path / "device.csv", "is a device")
    (tmp_path / "gone.csv").symlink_to("nowhere")
    refused(tmp_path / "gone.csv", r"gone\.csv: no such file")
    refused(tmp_path / "h*.csv", "no such file, and no file matches it as a pattern")


# -------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    "text",
    [
        "\n" + LOG,
        "\n \n" + LOG.replace("\n", "\r\n"),
        "\ufeff\n" + LOG,
        LOG.replace("\n", "\r"),
        LOG.replace("\n", "\n\n"),
        LOG.replace("1\n", "1\r\n"),  # mixed
        LOG + "  \n",
        'user,item,time\n"1" , "a",1\n1,b,2,\n',
    ],
)
def test_blank_lines_and_line_endings(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert alike(tmp_path / "a.csv") == {1: ["a", "b"]}


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_name_that_ends_like_a_usual_one_is_told(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame(
        {"household": [1, 1], "main_sku": ["a", "b"], "scan_date": ["2026-01-02", "2026-01-01"]}
    )
    path = tmp_path / f"log{ending}"
    if ending == ".parquet":
        frame.to_parquet(path)
    elif ending == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    for source in (path, frame):
        with pytest.warns(MclrecWarning) as told:
            assert sequences(source) == {1: ["b", "a"]}
        texts = [str(one.message) for one in told]
        assert any("took 'main_sku' as the item by the end of its name" in text for text in texts)
        assert any("took 'scan_date' as the time" in text and "--time-column" in text for text in texts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sequences(path, columns=Columns(item="main_sku", time="scan_date")) == {1: ["b", "a"]}


def test_a_column_of_one_value_is_taken_with_a_warning(tmp_path: Path) -> None:
    rows = "".join(f"u{row % 4}\t{978_300_000 + row}\ta1\tA Song of {row}\n" for row in range(24))
    (tmp_path / "a.tsv").write_text(rows, encoding="utf-8")
    with pytest.warns(
        MclrecWarning, match=r"took column 3 as the item \(all its values are the same\).*--item-column"
    ):
        prepare(tmp_path / "a.tsv", min_count=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('\n\nuser,item,time\n\n1,"a\nb",1\n\n1,b\n', r"a\.csv:8: line has 2 columns instead of 3$"),
        ('user,item,time\n1,"a\nb",1\n\n1,b,soon\n', r"a\.csv:5: time 'soon' is neither"),
        (
            'user,item,time\n1,"a",1\n1,"b,2\n1,c,3\n',
            r"a\.csv:3: line opens a quote that is not closed; quote='none' reads quotes as text$",
        ),
        ('user,item,time\n1,"a"b,1\n', r"a\.csv:2: line has text after a closing quote$"),
        (
            "user,item,time\r\n1,a,1\n1,b\r2,c,2\n",
            r"a\.csv:3: line has 4 columns instead of 3; line endings are mixed: end all lines with LF",
        ),
        ("user,item,time\n1,a\0,1\n", r"a\.csv:2: contains a NUL byte"),
        (
            "user,item,time\n1,NULL,1\n1,NA,1\n1,\\N,1\n",
            r"a\.csv: incomplete rows: 3 without item; the first is line 2: fix them, or use drop_missing",
        ),
        (
            "user,item,time\n\n1,,1\n",
            r"a\.csv: incomplete rows: 1 without item; the first is line 3: fix them, or use drop_missing",
        ),
        (f"user,item,time\n1,a,{10**30}\n1,a,1.5\n", r"a\.csv:2: time '10+\.*0+' has too many digits"),
        ("user,item,time\n1,a,1e30\n", r"a\.csv:2: time '1e30' is beyond 64 bits"),
        ("user,item,time\n1,a,1_0\n", r"a\.csv:2: time '1_0' is neither a number nor an ISO date"),
    ],
)
def test_the_right_line_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    refused(tmp_path / "a.csv", message)


def test_utf_16_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(LOG.encode("utf-16"))
    refused(tmp_path / "a.csv", "is UTF-16; add encoding='utf-16'")


@pytest.mark.slow
def test_long_fields_and_lines(tmp_path: Path) -> None:
    size = 2_200_000
    (tmp_path / "a.csv").write_text(f'"{"x" * size}",user,item,time\n"{"y" * size}",1,a,1\n')
    assert sequences(tmp_path / "a.csv") == {1: ["a"]}
    (tmp_path / "a.txt").write_text(f"1 {' '.join(['77777777777'] * (size // 12))}\n2 5\n")
    assert prepare(tmp_path / "a.txt", min_count=1).num_interactions == size // 12 + 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_numbers_of_thousands_of_digits_are_ids_and_no_times(tmp_path: Path, place: int) -> None:
    """Python refuses to parse them as integers, which must not crash the reader."""
    rows = [["1", "2", "1000000001"], ["1", "3", "1000000002"], ["2", "3", "1000000003"]]
    rows[1][place] = "9" * 5000
    path = tmp_path / "log.csv"
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8")
    if place == 2:
        with pytest.raises(DataError):
            prepare(path, min_count=1)
    else:
        assert prepare(path, min_count=1).num_interactions == 3


def test_a_line_without_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mclrec.data.text_files.LONGEST_LINE", 1 << 21)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"3 4\n1 " + b"7 " * (3 << 20)))
    with pytest.raises(DataError, match=r"a\.txt\.gz:2: line has more than 2 MB"):
        prepare(tmp_path / "a.txt.gz")


def test_lines_of_users_have_no_columns(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 2 3\n2 5\n")
    for options in ({"columns": Columns(item="item")}, {"header": True}):
        refused(tmp_path / "a.txt", "is read as one user a line .* which has no columns", **options)
    (tmp_path / "b.txt").write_bytes(b"1 2 3\r2 4 5\n3 1 2\n")
    refused(tmp_path / "b.txt", r"b\.txt:1: line contains a CR")


def test_an_array_is_streamed(tmp_path: Path) -> None:
    rows = [{"user": 1, "item": "a", "time": 1}, {"user": 1, "item": "b", "time": 2}]
    for text in (json.dumps(rows), json.dumps(rows, indent=2), f" \n{json.dumps(rows)}\n"):
        (tmp_path / "a.json").write_text(text)
        assert sequences(tmp_path / "a.json") == {1: ["a", "b"]}
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=2)[:-3])
    refused(tmp_path / "a.json", r"a\.json:7: line is not JSON: the array is not closed")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("5.7", "a.jsonl:1: item 5.7 is a number with a fraction; ids are integers or strings"),
        ("true", "item True is true or false"),
        ("[[1, 2]]", "ids"),
        ('"\\ud800"', "half of a surrogate pair"),
        ("1" + "0" * 5000 + ".5", "a.jsonl:1: "),
        ("[" * 100_000, "a.jsonl:1: line is not JSON: nested too deeply"),
    ],
)
def test_json_that_is_no_id(tmp_path: Path, item: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"user": 1, "time": 1, "item": {item}}}\n')
    refused(tmp_path / "a.jsonl", message)


def test_a_list_in_the_place_of_the_item_is_the_history(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"user": 1, "item": [5, 2]}\n{"user": 2, "item": [7]}\n')
    assert sequences(tmp_path / "a.jsonl") == {1: [5, 2], 2: [7]}


def test_large_integers_of_json_stay_exact(tmp_path: Path) -> None:
    ids = [2**53 + 1, 2**63 - 1]
    lines = [f'{{"user": 1, "item": {item}, "time": {time}}}\n' for time, item in enumerate(ids)]
    (tmp_path / "a.jsonl").write_text("".join(lines))
    assert sequences(tmp_path / "a.jsonl") == {1: ids}
    (tmp_path / "a.jsonl").write_text(f'{{"user": 1, "item": {10**30 + 1}, "time": 1}}\n')
    assert sequences(tmp_path / "a.jsonl") == {1: [str(10**30 + 1)]}


# -------------------------------------------------------------------------------- types


def test_sequence_columns_keep_their_order(tmp_path: Path) -> None:
    rows = [("1", "b", 2**60 + 1), ("1", "a", 2**60 + 2), ("1", "c", 2**60)]
    text = "user,item,n\n" + "".join(f"{user},{item},{n}\n" for user, item, n in rows)
    (tmp_path / "a.csv").write_text(text)
    assert alike(tmp_path / "a.csv", columns=Columns(sequence="n")) == {1: ["c", "b", "a"]}
    (tmp_path / "a.csv").write_text(text + "1,d,0.5\n")
    refused(tmp_path / "a.csv", r"a\.csv:2: sequence .* too many digits", columns=Columns(sequence="n"))


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (pa.array([date(2020, 1, 1), date(1969, 12, 31)]), [1577836800, -86400]),
        (pa.array([decimal.Decimal("1.50"), decimal.Decimal("-0.25")]), [1, -1]),
        (pa.array([2 * 10**9 + 1, 2 * 10**9 - 1], pa.timestamp("ns", "Asia/Tokyo")), [2, 1]),
        (pa.array([5, 4], pa.timestamp("s", "Etc/GMT+5")), [5, 4]),
        (pa.array(["2020-01-01", "1970-01-01T01:00:00+01:00"]), [1577836800, 0]),
        (pa.array(["10", "9"]), [10, 9]),
        (pa.array([2.5, -0.5]), [2, -1]),
        (pa.array([7, 6], pa.uint64()), [7, 6]),
    ],
)
def test_types_of_times(tmp_path: Path, times: pa.Array, seconds: list[int]) -> None:
    pq.write_table(table(time=times), tmp_path / "a.parquet")
    sources: list[Any] = [pl.from_arrow(table(time=times)), table(time=times), table(time=times).to_pandas()]
    assert alike(tmp_path / "a.parquet") == {1: ["b", "a"]}
    for source in (tmp_path / "a.parquet", *sources):
        data = prepare(source, min_count=1)
        assert data.times is not None
        assert sorted(data.times.tolist()) == sorted(seconds)


def test_nanoseconds_and_decimals_keep_their_order(tmp_path: Path) -> None:
    for times in (
        ["2020-01-01T00:00:00.000000002Z", "2020-01-01T00:00:00.000000001Z"],
        ["1700000000.000000002", "1700000000.000000001"],
    ):
        (tmp_path / "a.csv").write_text(f"user,item,time\n1,a,{times[0]}\n1,b,{times[1]}\n")
        assert alike(tmp_path / "a.csv") == {1: ["b", "a"]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item": [1.0, 5.7]}, "row 2: item 5.7 is not a whole number"),
        ({"item": [1.0, 2.0**60]}, "row 2: item 1.152.*e.18 is a float beyond 2\\^53"),
        ({"item": [1.0, float("inf")]}, "incomplete rows: 1 without item; the first is row 2"),
        ({"item": [None, "a"]}, "incomplete rows: 1 without item; the first is row 1"),
        ({"item": ["a", ""]}, "incomplete rows: 1 without item; the first is row 2"),
        ({"item": pa.array([1, 2**63], pa.uint64())}, "row 2: item 9223372036854775808 is beyond 64 bits"),
        ({"item": [True, False]}, "the item column holds bool; ids are integers or strings"),
        ({"item": [decimal.Decimal("1.5")] * 2}, "row 1: item 1.5 is not a whole number"),
        (
            {"item": [[1], [2]]},
            "the item column holds (large_)?list; name a column of lists with history_column",
        ),
        ({"time": [1.0, 1e30]}, "row 2: time 1e.30 is beyond 64 bits"),
        ({"time": [1.0, float("nan")]}, "incomplete rows: 1 without time; the first is row 2"),
        ({"time": pa.array([1, 2**63], pa.uint64())}, "row 2: time 9223372036854775808 is beyond 64 bits"),
        (
            {"time": pa.array([1, 2**63 - 1], pa.timestamp("us"))},
            "row 2: time 9223372036854775807 is infinite",
        ),
        (
            {"time": pa.array([1, 1 - 2**31], pa.int32()).cast(pa.date32())},
            "row 2: time -2147483647 is infinite",
        ),
        ({"time": pa.array([1, 2], pa.time64("us"))}, "the time column holds time64"),
        ({"time": ["1", "soon"]}, "row 2: time 'soon' is neither a number nor an ISO date"),
    ],
)
def test_values_that_do_not_fit(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    pq.write_table(table(**columns), tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", message)
    for frame in (table(**columns), pl.from_arrow(table(**columns))):
        with pytest.raises(DataError, match=message):
            prepare(frame, min_count=1)


def test_whole_floats_and_decimals_are_ids() -> None:
    assert sequences(table(user=[1.0, 2.0], item=[decimal.Decimal(7)] * 2)) == {1: [7], 2: [7]}


def test_categories_are_text() -> None:
    names = [f"item {number:05}" for number in range(20_000)]
    kind = pd.CategoricalDtype(names, ordered=True)
    frame = pd.DataFrame({"user": [1, 1], "item": pd.Categorical(names[:2], dtype=kind), "time": [2, 1]})
    assert sequences(frame) == {1: names[1::-1]}
    enum = pl.DataFrame({"user": [1, 1], "item": pl.Series(names[:2], dtype=pl.Enum(names)), "time": [2, 1]})
    assert sequences(enum) == {1: names[1::-1]}
    with pytest.raises(DataError, match="the item column holds large_list") as caught:
        prepare(enum.with_columns(item=pl.concat_list("item")))
    assert len(str(caught.value)) < 300


# -------------------------------------------------------------------------------- parts and columns


def test_parts_of_other_types_are_told(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "a.parquet")
    for name, columns, message in (
        (
            "b",
            {"item": [1, 2]},
            "the item column holds int64, but that of .*a.parquet string; cast them to one type",
        ),
        ("b", {"time": [1.5, 2.5]}, "the time column holds double, but that of"),
        ("b", {"time": pa.array([1, 2], pa.timestamp("s"))}, "the time column holds timestamp"),
    ):
        pq.write_table(table(**columns), tmp_path / f"{name}.parquet")
        refused(tmp_path, message)
    pq.write_table(table().rename_columns(["user", "thing", "time"]), tmp_path / "b.parquet")
    refused(tmp_path, "b.parquet: has no column called 'item'")
    pq.write_table(
        table(user=pa.array([2, 2], pa.int8()), item=pa.array(["a", "b"]).dictionary_encode()),
        tmp_path / "b.parquet",
    )
    assert alike(tmp_path) == {1: ["a", "b"], 2: ["a", "b"]}


def test_units_of_parts_may_differ(tmp_path: Path) -> None:
    pq.write_table(table(time=pa.array([2, 4], pa.timestamp("s"))), tmp_path / "a.parquet")
    pq.write_table(
        table(time=pa.array([3000, 5000], pa.timestamp("ms")), item=["c", "d"]), tmp_path / "b.parquet"
    )
    assert alike(tmp_path) == {1: ["a", "c", "b", "d"]}


def test_columns_of_any_name(tmp_path: Path) -> None:
    names = ["a.b", "*", 'x"y']
    strange = table().rename_columns(names)
    pq.write_table(strange, tmp_path / "a.parquet")
    columns = Columns(user="a.b", item="*", time='x"y')
    relation = duckdb.from_arrow(strange)
    assert alike(tmp_path / "a.parquet", columns=columns) == {1: ["a", "b"]}
    polars = pl.DataFrame(pl.from_arrow(strange))
    for frame in (strange, polars, polars.lazy(), strange.to_pandas(), relation):
        assert sequences(frame, columns=columns) == {1: ["a", "b"]}
    numbered = pd.DataFrame({0: [1, 1], 1: ["a", "b"], 2: [1, 2]})
    assert sequences(numbered, columns=Columns("0", "1", "2")) == {1: ["a", "b"]}


def test_columns_there_twice(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([[1], ["a"], ["b"], [1]], names=["user", "item", "item", "time"])
    pq.write_table(twice, tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "'item' and 'item' both look like the item; name the one")
    refused(tmp_path / "a.parquet", "2 columns are called 'item'", columns=Columns(item="item"))
    (tmp_path / "a.csv").write_text("user,item,Item_ID,itemId,time\n1,a,b,c,1\n")
    refused(tmp_path / "a.csv", "'Item_ID' and 'itemId' both look like the item")
    frame = pd.DataFrame([[1, "a", "b", 1]], columns=["user", "item", "item", "time"])
    for source in (twice, frame, duckdb.sql("SELECT 1 AS user, 2 AS item, 3 AS item, 4 AS time")):
        with pytest.raises(DataError, match="both look like the item"):
            prepare(source, min_count=1)
    upper = duckdb.sql("SELECT 1 AS \"user\", 'a' AS item, 'B' AS \"ITEM\", 4 AS time")
    assert sequences(upper, columns=Columns(item="ITEM")) == {1: ["B"]}


def test_a_query_runs_once_and_says_how_it_fails() -> None:
    random = duckdb.sql(
        "SELECT range % 5 AS user, (random() * 1e6)::BIGINT AS item, range AS time FROM range(5000)"
    )
    assert prepare(random, min_count=1).num_interactions == 5000
    late = duckdb.sql(
        "SELECT 1 AS user, if(range < 9999, 1, error('too late')) AS item, range AS time FROM range(10000)"
    )
    with pytest.raises(DataError, match=r"duckdb frame: the query failed: .*too late"):
        prepare(late, min_count=1)


def test_frames_that_cannot_be_read() -> None:
    for values, what in (
        ([1, "a"], "Could not convert"),
        ([2**70, 1], "too large"),
        ([object(), 1], "Could not convert"),
        ([np.datetime64("2020-01-01"), np.float32(1)], "mixes datetime64 and float32"),
    ):
        frame = pd.DataFrame({"user": [1, 1], "item": pd.Series(values, dtype=object), "time": [1, 2]})
        with pytest.raises(DataError, match=f"the column 'item' cannot be read: .*{what}"):
            prepare(frame, min_count=1)


def test_zones_are_left_behind() -> None:
    moments = [
        datetime.fromisoformat("2020-01-01T01:00:00+01:00"),
        datetime.fromisoformat("2020-01-01T00:00:01+00:00"),
    ]
    frame = pd.DataFrame({"user": [1, 1], "item": ["a", "b"], "time": pd.Series(moments, dtype=object)})
    data = prepare(frame, min_count=1)
    assert data.times is not None
    assert data.times.tolist() == [1577836800, 1577836801]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 3, b"x" * 100])
def test_damaged_parquet_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    refused(tmp_path / "a.parquet", r"a\.parquet: cannot be read: ")


def test_bytes_in_names_come_back(tmp_path: Path) -> None:
    log, out = tmp_path / "log\udcff.csv", tmp_path / "out"
    log.write_text(LOG)
    data = prepare(log, min_count=1, directory=out)
    assert data.provenance.place == str(out)
    assert data.provenance.source.place == str(log)
    assert read_again(data.provenance, data.name).fingerprint == data.fingerprint
