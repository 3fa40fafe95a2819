import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from mclrec.data.columns import Columns
from mclrec.data.loading import prepare
from mclrec.data.readers import read_log
from mclrec.errors import DataError

ROWS = [("u1", "x", 30), ("u2", "é", 10), ("u1", "y", 20)]
EXPECTED = {"u1": ["y", "x"], "u2": ["é"]}


def sequences(source: Any, **options: Any) -> dict[Any, list[Any]]:
    data = prepare(source, min_count=1, **options)
    return {
        data.user_ids[row + 1]: [data.item_ids[item] for item in data.sequence(row)]
        for row in range(data.num_users)
    }


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def delimited(delimiter: str, *head: str) -> str:
    return "".join(delimiter.join(map(str, row)) + "\n" for row in ([head] if head else []) + list(ROWS))


JSON = "".join(
    json.dumps({"asin": item, "user_id": user, "timestamp": time}) + "\n" for user, item, time in ROWS
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", delimited(",", "user_id", "item_id", "timestamp")),
        ("a.csv", "\ufeff" + delimited(",", "user_id", "item_id", "timestamp")),
        ("a.csv", delimited(";", "user_id", "item_id", "timestamp").replace("\n", "\r\n")),
        ("a.csv", delimited(",")),
        ("a.csv.gz", delimited(",")),
        ("a.tsv", delimited("\t", "uid", "iid", "ts")),
        ("a.tsv.gz", delimited("\t")),
        ("a.dat", delimited("::")),
        ("a.txt", delimited("::")),
        ("a.inter", delimited("\t", "user_id:token", "item_id:token", "timestamp:float")),
        ("a.jsonl", JSON),
        ("a.json.gz", JSON),
        ("a.txt", "u1 y x\n\nu2\té \n"),
        ("a.txt.gz", "u1 y x\nu2 é"),
    ],
)
def test_text_formats(tmp_path: Path, name: str, text: str) -> None:
    assert sequences(write(tmp_path / name, text)) == EXPECTED


def test_parquet_file_folder_and_pattern(tmp_path: Path) -> None:
    frame = pl.DataFrame(ROWS, schema=["user", "item", "time"], orient="row")
    (tmp_path / "log" / "day=1").mkdir(parents=True)
    frame[:2].write_parquet(tmp_path / "log" / "a.parquet")
    frame[2:].write_parquet(tmp_path / "log" / "day=1" / "b.parquet")
    frame.write_parquet(tmp_path / "whole.parquet")
    assert sequences(tmp_path / "log") == EXPECTED
    assert sequences(tmp_path / "whole.parquet") == EXPECTED
    assert sequences(str(tmp_path / "who*.parquet")) == EXPECTED


def test_headerless_rating_column_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "u.data", "1\t7\t5\t20\n1\t8\t3\t10\n")
    assert sequences(path) == {1: [8, 7]}
    swapped = Columns(user="2", item="1")
    assert sequences(path, columns=swapped) == {7: [1], 8: [1]}


def test_header_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "ann,milk\nann,bread\n")
    order = Columns(file_order=True)
    assert sequences(path, header=False, columns=order) == {"ann": ["milk", "bread"]}
    assert sequences(path, columns=order) == {"ann": ["milk", "bread"]}
    with pytest.raises(DataError, match="no column looks like the user"):
        prepare(path, columns=order, header=True)


def test_ids_are_integers_only_if_all_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,item,time\n10,007,1\n9,7,2\n9,7,3\n")
    assert sequences(path) == {9: ["7", "7"], 10: ["007"]}


def test_quotes_are_text_between_colons(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dat", '"::5" nail::5::1\n"::x::3::2\n')
    assert sequences(path) == {'"': ['5" nail', "x"]}


def test_quotes_and_delimiters_in_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '"user","item",time\n"a, b","say ""hi""",1\n')
    assert sequences(path) == {"a, b": ['say "hi"']}


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["5", "-3", "1500000000000"], [-3, 5, 1500000000000]),
        (["1.75", "1.25", "2"], [1, 1, 2]),
        (
            ["2020-01-01T12:00:00+02:00", "2020-01-01 09:00:00", "2020-01-02"],
            [1577869200, 1577872800, 1577923200],
        ),
    ],
)
def test_times(tmp_path: Path, times: list[str], expected: list[int]) -> None:
    text = "user,item,time\n" + "".join(f"1,{item},{time}\n" for item, time in enumerate(times, start=1))
    data = prepare(write(tmp_path / "a.csv", text), min_count=1)
    assert data.times is not None
    assert data.times.tolist() == expected
    assert data.items.tolist() == [2, 1, 3]


@pytest.mark.parametrize("engine", [pd.DataFrame, pl.DataFrame])
def test_text_and_zoned_times_of_frames(engine: Any) -> None:
    columns = {"user": [1, 1], "item": [1, 2], "time": ["2020-01-01T10:00:00Z", "2020-01-01T09:00:00Z"]}
    text = engine(columns)
    if engine is pd.DataFrame:
        zoned = text.assign(time=pd.to_datetime(text["time"]).dt.tz_convert("Asia/Tokyo"))
    else:
        zoned = text.with_columns(text["time"].str.to_datetime().dt.convert_time_zone("Asia/Tokyo"))
    for frame in (text, zoned):
        data = prepare(frame, min_count=1)
        assert data.times is not None
        assert data.times.tolist() == [1577869200, 1577872800]
        assert data.items.tolist() == [2, 1]
    with pytest.raises(DataError, match="nor an ISO date"):
        prepare(engine({**columns, "time": ["soon", "later"]}))


def test_file_order_of_frames() -> None:
    columns = {"user": [1, 1, 1], "item": [3, 1, 2]}
    order = Columns(file_order=True)
    assert sequences(pd.DataFrame(columns), columns=order) == {1: [3, 1, 2]}
    assert sequences(pl.DataFrame(columns), columns=order) == {1: [3, 1, 2]}
    with pytest.raises(DataError, match="lazy frame have no order"):
        prepare(pl.LazyFrame(columns), columns=order)


def test_sequence_column_breaks_ties(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,item,time,n\n1,1,5,10\n1,2,5,9\n1,3,4,99\n")
    assert sequences(path)[1][0] == 3
    assert sequences(path, columns=Columns(sequence="n")) == {1: [3, 2, 1]}  # as numbers, not as text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "user,item,time\n1,2,3\n1,2\n", r"a\.csv:3: line has 2 columns instead of 3$"),
        (
            "a.csv",
            "user,item,time\n1,2,3\n1,3,soon\n",
            r"a\.csv:3: time 'soon' is neither a number nor an ISO date; say how it is written with time_format",
        ),
        ("a.csv", "1,2,3\n1,3,soon\n", r"a\.csv:2: time 'soon'"),
        (
            "a.csv",
            "user,item,time\n1,,3\n,2,3\n,2,3\n",
            r"a\.csv: incomplete rows: 2 without user, 1 without item;",
        ),
        ("a.csv", "user,item,time\n1,2,nan\n", r"a\.csv: incomplete rows: 1 without time"),
        ("a.csv", "", r"a\.csv: is empty$"),
        ("a.csv", "user,item,time\n", r"a\.csv: has a header and no rows$"),
        (
            "a.jsonl",
            '{"user": 1, "item": 1, "time": 1}\n{"user": 1,, "time": 2}\n',
            r"a\.jsonl:2: line is not JSON",
        ),
        ("a.jsonl", "[1, 2]\n", r"a\.jsonl:1: 1 in the array is not a JSON object"),
        ("a.txt", "1 2 3\n2\n", r"a\.txt:2: line has a user but no item"),
        ("a.txt", "1 2 3\n2 3\n1 4\n", r"a\.txt:3: line has a user that already has a line"),
        ("a.xlsx", "?", r"a\.xlsx: cannot read files of type '\.xlsx'; known: \.csv"),
        ("a.parquet", "no", r"a\.parquet: cannot be read: "),
    ],
)
def test_bad_files_say_where(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        prepare(write(tmp_path / name, text))
    assert "\n" not in str(caught.value)


def test_other_bad_files(tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"user,item,time\n1,caf\xe9,3\n")
    with pytest.raises(DataError, match=r"latin\.csv:2: is not UTF-8 text"):
        prepare(latin)
    latin.write_bytes(b"user,item,time\n1,a,3\n1,b,4\n1,caf\xe9,3\n")
    with pytest.raises(
        DataError,
        match=r"latin\.csv:4: is not UTF-8 text \(byte 0xe9\); give its encoding, such as encoding='latin-1'",
    ):
        prepare(latin)
    whole = gzip.compress(delimited(",").encode() * 1000)
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.csv\.gz: cannot be read"):
        prepare(tmp_path / "cut.csv.gz")
    with pytest.raises(DataError, match=r"hdfs://a/log\.csv: cannot be read from there.*engine='spark'"):
        prepare("hdfs://a/log.csv")
    with pytest.raises(DataError, match=r"none\.csv: no such file$"):
        prepare(tmp_path / "none.csv")


def test_frames_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="cannot read a list"):
        read_log([1, 2, 3])
    with pytest.raises(DataError, match=r"row 1: item 1\.5 is not a whole number"):
        prepare(pl.DataFrame({"user": [1], "item": [1.5], "time": [1]}))
    with pytest.raises(DataError, match="user 9223372036854775808 is beyond 64 bits; cast"):
        prepare(
            pl.DataFrame({"user": [2**63], "item": [1], "time": [1]}, schema_overrides={"user": pl.UInt64})
        )
    with pytest.raises(DataError, match="1 without item"):
        prepare(pd.DataFrame({"user": [1, 2], "item": ["a", None], "time": [1, 2]}))
    with pytest.raises(DataError, match="has no rows"):
        prepare(
            pl.DataFrame(
                {"user": [], "item": [], "time": []}, schema=dict.fromkeys(("user", "item", "time"), pl.Int64)
            )
        )


def test_temporary_database_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    path = write(tmp_path / "a.csv", delimited(","))
    with read_log(path):
        assert any(scratch.iterdir())
    assert not any(scratch.iterdir())
    with pytest.raises(DataError):
        read_log(write(path, "user,item,time\n1,2\n"))
    assert not any(scratch.iterdir())
