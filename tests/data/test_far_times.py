"""Outlying times, mixed units, dates written as numbers, and clock times beside a date column."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.test_readers import sequences

from mclrec.data.columns import Columns
from mclrec.data.far_times import far_times
from mclrec.data.intake_text import intake_lines, intake_warnings
from mclrec.data.loading import prepare
from mclrec.data.moments import time_of
from mclrec.data.number_dates import FORMS, dates_read, seconds_of_dates
from mclrec.data.sequences import SequenceData
from mclrec.errors import DataError

START = 1_700_000_000
ENGINES = ["duckdb", "polars", "pandas"]


def text_log(folder: Path, times: list[Any], more: dict[str, list[Any]] | None = None) -> Path:
    """Write a log of one user, with one item per row and further columns."""
    columns = {"time": times, **(more or {})}
    lines = [
        f"1,{row},{','.join(str(values[row]) for values in columns.values())}\n" for row in range(len(times))
    ]
    path = folder / "log.csv"
    path.write_text(f"user,item,{','.join(columns)}\n" + "".join(lines), encoding="utf-8")
    return path


def told(data: SequenceData) -> str | None:
    assert data.intake is not None
    return next((text for kind, text in intake_warnings(data.intake) if kind == "times"), None)


def condition_of(text: str) -> str:
    option = re.search(r"--where (\".*?\"|'.*?')(?= (?:leaves|keeps))", text)
    assert option is not None, text
    return shlex.split(option[1])[0]


def written(times: list[int]) -> dict[str, list[Any]]:
    iso = [datetime.fromtimestamp(time, UTC).replace(tzinfo=None) for time in times]
    return {
        "seconds": times,
        "milliseconds": [time * 1000 for time in times],
        "floats": [float(time) for time in times],
        "days": [f"{moment:%Y-%m-%d}" for moment in iso],
        "moments": [moment.isoformat() for moment in iso],
        "YYYYMMDD": [f"{moment:%Y%m%d}" for moment in iso],
        "YYYYMMDDHH": [f"{moment:%Y%m%d%H}" for moment in iso],
        "YYYYMMDDHHMMSS": [f"{moment:%Y%m%d%H%M%S}" for moment in iso],
    }


USUAL = written([START + 90_000 * number for number in range(8)])
FAR = [
    ("seconds", 0),
    ("seconds", -1),
    ("milliseconds", 0),
    ("milliseconds", -1),
    ("floats", 0.0),
    ("days", "1970-01-01"),
    ("days", "0001-01-01"),
    ("days", "9999-12-31"),
    ("moments", "2093-01-01T00:00:00"),
    ("YYYYMMDD", 99991231),
    ("YYYYMMDD", 0),
    ("YYYYMMDD", -1),
    ("YYYYMMDDHHMMSS", 19700101000000),
    ("YYYYMMDDHHMMSS", 0),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("form", "value"), FAR)
def test_far_times_are_told_with_the_condition_that_leaves_them_out(
    tmp_path: Path, engine: str, form: str, value: object
) -> None:
    path = text_log(tmp_path, [*USUAL[form], value])
    text = told(prepare(path, min_count=1, engine=engine))
    assert text is not None
    assert text.startswith("times of 1 row (11 %) are before 1990-01-01 or from ")
    left = prepare(path, min_count=1, engine=engine, where=condition_of(text))
    assert told(left) is None
    assert left.num_interactions == len(USUAL[form])
    whole = prepare(text_log(tmp_path, USUAL[form]), min_count=1, engine=engine)
    assert told(whole) is None


@pytest.mark.parametrize(("most", "few"), [("seconds", "milliseconds"), ("milliseconds", "seconds")])
def test_seconds_beside_milliseconds_are_told(tmp_path: Path, most: str, few: str) -> None:
    times = [*USUAL[most][:6], *USUAL[few][6:]]
    path = text_log(tmp_path, times)
    frame = pl.DataFrame({"user": [1] * 8, "item": list(range(8)), "time": times})
    pq.write_table(frame.to_arrow(), tmp_path / "log.parquet")
    sources: list[Any] = [path, frame, frame.to_pandas(), frame.to_arrow(), tmp_path / "log.parquet"]
    for source in sources:
        data = prepare(source, min_count=1)
        text = told(data)
        assert text is not None
        assert text.startswith("times are in several units: 2 rows (25 %)")
        assert f"are in {few}, such as" in text
        assert f"most in {most}" in text
        assert prepare(source, min_count=1, where=condition_of(text)).num_interactions == 6
        assert data.intake is not None
        assert data.intake.left.far is not None


def test_the_unit_is_that_of_most_times(tmp_path: Path) -> None:
    """Judged by the largest time, one date in the year 9999 would turn seconds into milliseconds."""
    data = prepare(text_log(tmp_path, [*USUAL["days"], "9999-12-31"]), min_count=1)
    assert data.intake is not None
    assert data.times is not None
    assert (data.intake.left.first, data.intake.left.last) == ("2023-11-14T00:00:00Z", "9999-12-31T00:00:00Z")
    assert time_of("2023-11-16", data.times, "log") == int(datetime(2023, 11, 16, tzinfo=UTC).timestamp())


@given(st.integers(1, 1000), st.integers(1, 10**5 - 1))
def test_counters_are_not_told_of(rows: int, step: int) -> None:
    assert far_times(np.arange(rows) * step) is None


moments = st.datetimes(datetime(1990, 1, 1), datetime(2099, 12, 31, 23, 59, 59))


@given(
    st.lists(moments, min_size=1, max_size=20),
    st.sampled_from(sorted(FORMS.values())),
    st.sampled_from([1, 100]),
)
def test_dates_in_numbers_are_what_their_digits_say(found: list[datetime], form: str, ticks: int) -> None:
    digits = len(form)
    texts = [f"{moment:%Y%m%d%H%M%S}"[:digits] for moment in found]
    read, told_form = dates_read(np.array([int(text) * ticks for text in texts]), ticks)
    naive = [datetime.strptime(text.ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC) for text in texts]
    assert told_form == form
    assert read.tolist() == [int(moment.timestamp()) * ticks for moment in naive]


@given(st.integers(0, 10**14 - 1), st.sampled_from(sorted(FORMS.values())))
def test_numbers_that_are_no_dates_are_none(number: int, form: str) -> None:
    digits = len(form)
    number %= 10**digits
    try:
        datetime.strptime(str(number).zfill(digits).ljust(14, "0"), "%Y%m%d%H%M%S")
        expected = True
    except ValueError:
        expected = False
    assert bool(seconds_of_dates(np.array([number]), form)[1][0]) == expected


@pytest.mark.parametrize("form", ["YYYYMMDD", "YYYYMMDDHH", "YYYYMMDDHHMMSS"])
def test_dates_in_numbers_are_read_and_told(tmp_path: Path, form: str) -> None:
    times = [int(text) for text in USUAL[form]]
    frame = pl.DataFrame({"user": [1] * 8, "item": list(range(8)), "time": times})
    pq.write_table(frame.to_arrow(), tmp_path / "log.parquet")
    sources: list[Any] = [
        text_log(tmp_path, times),
        frame,
        frame.to_pandas(),
        frame.with_columns(pl.col("time").cast(pl.Float64)).to_arrow(),
        tmp_path / "log.parquet",
    ]
    for source in sources:
        data = prepare(source, min_count=1)
        assert data.intake is not None
        assert data.times is not None
        assert ("dates", f"times are numbers of the form {form}, and are read as dates") in intake_lines(
            data.intake
        )
        assert str(data.intake.left.first).startswith("2023-11-14T")
        assert str(data.intake.left.last).startswith("2023-11-22T")
        assert data.num_interactions == 8
        day = time_of("2023-11-16", data.times, "log")
        assert time_of("20231116", data.times, "log") == day
        assert np.count_nonzero(data.times < day) == 2


def test_one_number_that_is_no_date_leaves_all_as_they_are() -> None:
    for times in ([20240101, 20240230], [2024010124, 2024010101], [1, 2, 3], [1704067200, 1704067201]):
        assert dates_read(np.array(times), 1)[1] is None
    assert dates_read(np.array([20240101.5, 20240102.0]), 1)[1] is None
    assert dates_read(np.array([], np.int64), 1)[1] is None


def test_hours_beside_a_date_are_refused(tmp_path: Path) -> None:
    days = ["2024-01-02", "2024-01-01", "2024-01-03", "2024-01-04"]
    for hours in ([18, 9, 23, 9], [1805, 930, 5, 2359], [180559, 93000, 235959, 0]):
        path = text_log(tmp_path, hours, {"date": days})
        frame = pl.DataFrame({"user": [1] * 4, "item": list(range(4)), "time": hours, "date": days})
        pq.write_table(frame.to_arrow(), tmp_path / "log.parquet")
        json = tmp_path / "log.jsonl"
        frame.write_ndjson(json)
        sources: list[Any] = [path, json, frame, frame.to_pandas(), tmp_path / "log.parquet"]
        for source in sources:
            with pytest.raises(
                DataError, match=r"the time is spread over several columns \(date, time\)"
            ) as caught:
                prepare(source, min_count=1)
            assert "time_column" in str(caught.value) or "columns" in str(caught.value)
    assert sequences(path, columns=Columns(time="date")) == {1: [1, 0, 2, 3]}
    for name in ("kind of day", "day_of_week", "weekday", "holiday", "birthday"):  # not dates
        assert sequences(text_log(tmp_path, [18, 9, 23, 9], {name: ["a", "b", "a", "b"]}))


CLOCKS = {
    "%H:%M": ["18:30", "09:05", "23:59", "00:00"],
    "%H:%M:%S": ["18:30:05", "09:05:00", "23:59:59", "00:00:01"],
    "%H:%M:%S.%f": ["18:30:05.25", "09:05:00.5", "23:59:59.125", "00:00:01.0"],
    "%I:%M %p": ["6:30 PM", "09:05 AM", "11:59 pm", "12:00 am"],
    "%I:%M:%S%p": ["6:30:05PM", "09:05:00AM", "11:59:59PM", "12:00:01AM"],
    "%I %p": ["6 PM", "9 AM", "11 PM", "12 AM"],
}


@pytest.mark.parametrize("form", CLOCKS)
@pytest.mark.parametrize("number", [False, True])
@pytest.mark.parametrize("first", ["date", "time"])
def test_clock_times_in_text_beside_a_date_are_refused(
    tmp_path: Path, form: str, number: bool, first: str
) -> None:
    """Files, frames, clock formats and both column orders; the error names the date column, which can order rows."""
    days = ["2024-01-02", "2024-01-01", "2024-01-03", "2024-01-04"]
    written = [day.replace("-", "") for day in days] if number else days
    columns = {"date": written, "time": CLOCKS[form]}
    frame = pl.DataFrame({"user": [1] * 4, "item": list(range(4)), first: columns.pop(first), **columns})
    path = tmp_path / "log.csv"
    frame.write_csv(path)
    frame.write_ndjson(tmp_path / "log.jsonl")
    sources: list[Any] = [path, tmp_path / "log.jsonl", frame, frame.to_pandas()]
    given: list[dict[str, Any]] = [{}, {"time_format": form}]
    for source in sources:
        for options in given:
            with pytest.raises(DataError, match=r"has no day|without a day") as caught:
                prepare(source, min_count=1, **options)
            assert "date may hold the days: join both into one column" in str(caught.value)
            assert "\n" not in str(caught.value)
    assert sequences(path, columns=Columns(time="date")) == {1: [1, 0, 2, 3]}


@pytest.mark.parametrize("form", CLOCKS)
def test_clock_times_alone_are_refused_with_the_form_that_reads_one_day(tmp_path: Path, form: str) -> None:
    path = text_log(tmp_path, CLOCKS[form])
    with pytest.raises(
        DataError, match="is a clock time without a day, which cannot order rows of several days"
    ) as caught:
        prepare(path, min_count=1)
    assert str(caught.value).endswith(f"if all rows are of one day, use time_format='{form}'")
    assert sequences(path, time_format=form) == {1: [3, 1, 0, 2]}


@pytest.mark.parametrize(
    "times", [[START, START + 1, START + 2], [1, 399, 261], [-1, 3, 5], [3, 2, 1], [5, 1, 9]]
)
def test_other_numbers_beside_a_date_are_times(tmp_path: Path, times: list[int]) -> None:
    days = ["2024-01-02", "2024-01-01", "2024-01-03"]
    assert prepare(text_log(tmp_path, times, {"date": days}), min_count=1).num_interactions == 3


@pytest.mark.parametrize(
    "text",
    ["1 5:1 7:2\n2 3:1 5:4 9:1\n", "1 5:1\n2 7:1\n", "1 5:1 7:2\n2 3:1 5:4\n", "1\t5:0.5 7:2e-1\n2\t3:1\n"],
)
def test_libsvm_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"look like LIBSVM's 'user item:value item:value ...' \(5:"):
        prepare(path, min_count=1)


def test_clock_times_behind_a_blank_are_no_libsvm(tmp_path: Path) -> None:
    path = text_log(tmp_path, ["2024-01-02 00:00", "2024-01-01 18:30"])
    assert sequences(path) == {1: [1, 0]}


def test_a_colon_behind_the_user_is_no_libsvm(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("1:5 7\n2:3 5 9\n", encoding="utf-8")
    assert prepare(path, min_count=1).num_interactions == 5
