"""Every text format is read into the sequences that a plain loop finds in the rows."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from tests.data.formats_made import PACKED, START, Layout, Row, layouts, plain, rows, write
from tests.data.test_readers import sequences

from mclrec.data import remote
from mclrec.data.columns import Columns
from mclrec.data.loading import prepare
from mclrec.errors import ConfigError, DataError, MclrecWarning

MADE: list[Row] = [
    ("u1", "i1é", START),
    ("u1", "i2é", START + 9),
    ("u2", "i1é", START + 5),
    ("u2", "i2é", START + 6),
]


def compare(made: list[Row], layout: Layout, engine: str = "duckdb") -> None:
    """Compare the log read in a layout with the sequences of its rows."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", MclrecWarning)
        path, options = write(Path(folder), made, layout)
        found = sequences(path, engine=engine, **options)
    assert {str(user): list(map(str, items)) for user, items in found.items()} == plain(made)


@settings(max_examples=25, deadline=None)
@given(rows(), layouts())
@example(MADE, Layout("delimited", sign="\t", header=False, order=(3, 0, 1, 2)))
@example(MADE, Layout("delimited", sign="|", quoted=True, packed=".zip"))
@example(MADE, Layout("events", packed=".zst", encoding="latin-1"))
@example(MADE, Layout("colon", packed=".bz2"))
def test_formats(made: list[Row], layout: Layout) -> None:
    compare(made, layout)


def log(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refused(source: Any, message: str, **options: Any) -> None:
    with pytest.raises(DataError, match=message):
        prepare(source, min_count=1, **options)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ('user\titem\ttime\n1\t5\' "wood\t1\n1\t"Heroes"\t2\n', {}),
        ('user\titem\ttime\n1\t5\' "wood\t1\n1\t"Heroes"\t2\n', {"quote": "none"}),
        ("user,item,time\n1,5' \"wood,1\n1,'\"Heroes\"',2\n", {"quote": "'"}),
        ('"user";"item";"time"\n1;"5\' ""wood";1\n1;"""Heroes""";2\n', {}),
        ('user|item|time\n1|5\' "wood|1\n1|"""Heroes"""|2\n', {"quote": '"'}),
    ],
)
def test_quotes(tmp_path: Path, text: str, options: dict[str, Any]) -> None:
    assert sequences(log(tmp_path, text), **options) == {1: ["5' \"wood", '"Heroes"']}


def test_options_that_cannot_apply(tmp_path: Path) -> None:
    rows_ = log(tmp_path, "user,item,time\n1,a,1\n")
    refused(rows_, "the time is not text|does not match time_format", time_format="%Y-%m")
    refused(
        log(tmp_path, '{"user": 1, "item": 2, "time": 3}', "a.jsonl"),
        "is JSON, so header cannot",
        header=True,
    )
    refused(log(tmp_path, "1 2 3\n2 3\n", "a.txt"), "one user per line, so quote cannot", quote='"')
    refused(log(tmp_path, "1::2::5::3\n", "a.dat"), 'so quote " cannot be used', quote='"')
    with pytest.raises(ConfigError, match="time_format %Q"):
        prepare(rows_, time_format="%Q")


def test_files_of_one_log(tmp_path: Path) -> None:
    log(tmp_path, "user,item,time\n1,a,1\n", "a.csv")
    log(tmp_path, "time,item,user\n0,b,1\n", "b.csv")
    assert sequences(tmp_path) == sequences(tmp_path / "*.csv") == {1: ["b", "a"]}
    log(tmp_path, "user,item,when\n1,c,2\n", "c.csv")
    refused(tmp_path, r"c\.csv: (has no|unknown) column 'time'")
    log(tmp_path, "user,item,time\n1,c,soon\n", "c.csv")
    refused(tmp_path, r"c\.csv:2: time 'soon'")
    log(tmp_path, '{"user": 1}', "d.jsonl")
    refused(tmp_path, r"holds files of several types \(\.csv, \.jsonl\); name those of one")


@pytest.mark.parametrize("packed", [".bz2", ".zst", ".zip", ".gz"])
def test_damaged_and_misnamed(tmp_path: Path, packed: str) -> None:
    text = b"user,item,time\n1,a,1\n" * 2000
    path = tmp_path / f"a.csv{packed}"
    path.write_bytes(PACKED[packed]("a.csv", text)[:-20])
    refused(path, r"a\.csv\S*: cannot be (unpacked|read)")
    path.write_bytes(text)
    refused(path, f"is not .*, though its name ends with {packed}")


@pytest.mark.parametrize(
    ("text", "places", "taken"),
    [
        ("7,5,1400000000\n7,6,1400000001\n8,5,1400000002\n", "1 2 3", ""),
        ("2014-01-01,7,5\n2014-01-02,7,6\n", "2 3 1", ""),
        ("4.5,1400000000,u1,i5\n3.0,1400000001,u1,i6\n", "3 4 2", ""),
        ("i5,u1,1400000000\ni6,u1,1400000001\n", "2 1 3", "took column 2 as the user and 1 as the item"),
        ("tt5\tur1\n tt6\tur1\n", "1 2 ", "took the rows in file order"),
    ],
)
def test_columns_by_their_values(tmp_path: Path, text: str, places: str, taken: str) -> None:
    path = log(tmp_path, text)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        intake = prepare(path, min_count=1, header=False).intake
    assert intake is not None
    found = {column.role: column.name for column in intake.columns}
    assert [found.get("user"), found.get("item"), found.get("time", "")] == places.split(" ")
    assert [str(warning.message) for warning in told if "took" in str(warning.message)] == (
        [warning for warning in [str(told[0].message)] if taken in warning] if taken else []
    )


def test_a_rating_is_hardly_a_time(tmp_path: Path) -> None:
    path = log(tmp_path, "".join(f"{row % 4},{row},{row % 5 + 1}\n" for row in range(40)))
    with pytest.warns(MclrecWarning, match=r"took column 3 as the time \(it may be a rating\).*--file-order"):
        prepare(path, min_count=1)


def test_colons(tmp_path: Path) -> None:
    assert sequences(log(tmp_path, "1:10\n2:10\n1:9\n", "a.txt")) == {1: [10, 9], 2: [10]}
    assert sequences(log(tmp_path, "1: 10 9\n2: 10\n", "a.txt")) == {1: [10, 9], 2: [10]}
    path = log(tmp_path, "u1,i1,2014-04-01,09:07\nu1,i2,2014-04-01,09:06\n")
    assert sequences(path, header=False, columns=Columns(time="4", file_order=True), time_format="%H:%M") == {
        "u1": ["i2", "i1"]
    }


def test_addresses_need_the_extension(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stands_in(connection: object, address: str, path: Path) -> None:
        path.write_text("user,item,time\n1,a,1\n")

    monkeypatch.setattr(remote, "_load", lambda connection, address: None)
    monkeypatch.setattr(remote, "_copy", stands_in)
    assert sequences("https://example.org/logs/a.csv?x=1") == {1: ["a"]}
    monkeypatch.undo()
    monkeypatch.setattr(remote, "EXTENSION", "no_such_extension")
    refused("s3://bucket/a.csv", "DuckDB's extension no_such_extension, which is not installed: python -c")
    refused("ftp://example.org/a.csv", "cannot be read from there")


def test_lists_of_a_user_continue_each_other(tmp_path: Path) -> None:
    path = log(tmp_path, "user\titems\n1\ta b\n1\ta b c\n2\tx y\n", "a.tsv")
    assert sequences(path, columns=Columns(history="items")) == {1: ["a", "b", "c"], 2: ["x", "y"]}
    log(tmp_path, "user\titems\n1\t['a', 'b c']\n2\t[x,y]\n", "a.tsv")
    assert sequences(path, columns=Columns(history="items")) == {1: ["a", "b c"], 2: ["x", "y"]}
    log(tmp_path, "user\titems\n1\ta b\n1\tc d\n", "a.tsv")
    refused(path, r"a\.tsv:3: user '1' has a different list in .*a\.tsv:2", columns=Columns(history="items"))
    refused(
        path,
        r"lists of items are in order, so columns=Columns\(time=...\)",
        columns=Columns(history="items", time="user"),
    )


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2024-01-31T09:07", 1706692020),
        ("20240131T0907", 1706692020),
        ("20240131T090700Z", 1706692020),
        ("2024-01-31T10:07+01", 1706692020),
        ("2024-01-31T10:07:00.5+0100", 1706692020),
        ("2024-01-31 04:07 America/New_York", 1706692020),
        ("2024-01-31 05:07:00 America/Port-au-Prince", 1706695620),
        ("2024-01-31 04:07:00 Etc/GMT+5", 1706692020),
        ("2024-01-31 05:07 America/La_Paz", 1706692020),
    ],
)
def test_times(tmp_path: Path, written: str, seconds: int) -> None:
    for engine in ("duckdb", "polars", "pandas"):
        data = prepare(log(tmp_path, f"user,item,time\n1,a,{written}\n"), min_count=1, engine=engine)
        assert data.times is not None
        assert data.times.tolist() == [seconds]


def test_dates_of_two_readings(tmp_path: Path) -> None:
    path = log(tmp_path, "user,item,time\n1,a,01/02/2024\n1,b,02/01/2024\n")
    refused(
        path,
        r"a\.csv:2: time '01/02/2024' may be day/month .*'%d/%m/%Y'\) or month/day .*'%m/%d/%Y'\): say which",
    )
    assert sequences(path, time_format="%d/%m/%Y") == {1: ["b", "a"]}
    assert sequences(path, time_format="%m/%d/%Y") == {1: ["a", "b"]}
    log(tmp_path, "user,item,time\n1,a,01/02/2024\n1,b,22/01/2024\n")
    refused(path, r"neither a number nor an ISO date; time_format='%d/%m/%Y' would read it")


def test_quoted_rows_between_tabs_are_no_lines_of_users(tmp_path: Path) -> None:
    made = [
        ("u3", "i1", 1400000000),
        ("u2", "i2", 1400000060),
        ("u1", "i3", 1400000120),
        ("u2", "i4", 1400000180),
    ]
    path = tmp_path / "log.txt"
    path.write_text("".join(f' "{time}" \t "4.5" \t "{item}" \t "{user}" \n' for user, item, time in made))
    with pytest.warns(MclrecWarning):  # about the choice of the user and item columns
        found = sequences(path)
    assert found == {"u1": ["i3"], "u2": ["i2", "i4"], "u3": ["i1"]}


def test_a_column_whose_quoted_values_all_hold_the_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "log.dat"
    path.write_text(
        "time|x|user|item\n" + "".join(f'140000000{time}||"a|[1]"|{time + 5}\n' for time in range(4))
    )
    assert sequences(path) == {"a|[1]": [5, 6, 7, 8]}


@pytest.mark.parametrize(
    ("text", "item", "told"),
    [
        # Million Song Dataset triplets; Last.fm 360K; hours played on Steam, with a kind of event
        (
            lambda row: f"u{row % 7}\tS{row % 11}\t{row * 37 % 90 + 1}",
            "2",
            "3 as the time (its numbers are not dates",
        ),
        (
            lambda row: f"u{row % 7}\tm{row % 11}\tThe Band {row % 11}\t{row * 37 % 900 + 1}",
            "2",
            "4 as the time (its numbers are not dates",
        ),
        (
            lambda row: (
                f"{15160 + row % 7}\tThe Game {row % 9}\t{('play', 'purchase')[row % 2]}\t{row * 13 % 300 / 10}\t0"
            ),
            "2",
            "4 as the time (its numbers are not dates",
        ),
    ],
)
def test_counts_and_hours_are_taken_for_times_with_a_warning(
    tmp_path: Path, text: Callable[[int], str], item: str, told: str
) -> None:
    path = log(tmp_path, "".join(f"{text(row)}\n" for row in range(60)), "a.tsv")
    with pytest.warns(MclrecWarning) as warned:
        intake = prepare(path, min_count=1).intake
    assert intake is not None
    assert {column.role: column.name for column in intake.columns}["item"] == item
    assert any(f"took column {told}" in str(warning.message) for warning in warned)


def test_few_users_with_small_ids_are_no_ratings(tmp_path: Path) -> None:
    rows_ = "".join(
        f"{row // 8 + 1},{226800 + row % 13},{252000 + row % 3},pv,{1511544070 + row}\n" for row in range(64)
    )
    with pytest.warns(MclrecWarning, match="took column 2 as the item"):
        intake = prepare(log(tmp_path, rows_), min_count=1).intake
    assert intake is not None
    assert [column.name for column in intake.columns] == ["1", "2", "5"]


def test_a_header_within_a_file_is_refused(tmp_path: Path) -> None:
    again = "user,item\n1,a\n1,b\nuser,item\n2,a\n"
    refused(log(tmp_path, again), r"a\.csv:4: line repeats the header", columns=Columns(file_order=True))
    timed = again.replace("item\n", "item,time\n").replace("a\n", "a,1\n").replace("b\n", "b,2\n")
    refused(log(tmp_path, timed), r"a\.csv:4: line repeats the header")
    refused(log(tmp_path, timed.replace("1,a", '1," a"')), r"a\.csv:4: line repeats the header")
