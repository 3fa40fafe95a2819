"""Times as exports write them: two-digit years, spaces before time zones, floats of too few bits."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.test_readers import sequences

from mclrec.data.loading import prepare
from mclrec.errors import DataError

WRITTEN = {
    "%d/%m/%y": "day/month",
    "%m/%d/%y %H:%M": "month/day",
    "%d-%m-%y": "day/month",
    "%y-%m-%d %H:%M:%S": "year/month",
}


def text_log(folder: Path, times: list[str]) -> Path:
    lines = [f"1,{item},{time}\n" for item, time in zip("abcdefgh", times, strict=False)]
    path = folder / "log.csv"
    path.write_text("user,item,time\n" + "".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", WRITTEN)
def test_years_of_two_digits_are_refused_with_their_readings(tmp_path: Path, form: str) -> None:
    """DuckDB alone would read 31/12/23 as a date in the year 31, and order rows by day of the month."""
    days = [date(2023, 12, 11), date(2024, 1, 10), date(2022, 6, 12)]
    times = [day.strftime(form) for day in days]
    path = text_log(tmp_path, times)
    frame = pl.DataFrame({"user": [1, 1, 1], "item": ["a", "b", "c"], "time": times})
    sources: list[Any] = [path, frame, frame.to_pandas()]
    for source in sources:
        with pytest.raises(DataError, match="say which") as caught:
            prepare(source, min_count=1)
        assert f"{WRITTEN[form]} (time_format='{form}')" in str(caught.value)
        assert sequences(source, time_format=form) == {1: ["c", "a", "b"]}


def test_a_condition_takes_no_years_of_two_digits(tmp_path: Path) -> None:
    path = text_log(tmp_path, ["1", "2"])
    path.write_text("user,item,time,day\n1,a,1,31/12/23\n1,b,2,01/01/24\n", encoding="utf-8")
    with pytest.raises(DataError, match="day '31/12/23' is not an ISO date"):
        prepare(path, min_count=1, where="day >= DATE '2024-01-01'")


def test_a_form_with_four_digits_of_the_year_reads_no_two(tmp_path: Path) -> None:
    path = text_log(tmp_path, ["31/12/23", "01/01/24"])
    with pytest.raises(DataError, match=r"'31/12/23' does not match .*; %Y is a four-digit year, %y a two"):
        prepare(path, min_count=1, time_format="%d/%m/%Y")
    with pytest.raises(DataError, match=r"may be day/month \(time_format='%d/%m/%y'\) or year/month"):
        prepare(path, min_count=1)
    with pytest.raises(DataError, match=r"time_format='%m/%d/%y' would read it"):
        prepare(text_log(tmp_path, ["12/31/23", "01/31/24"]), min_count=1)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2024-01-31 09:07:00.000 -0800", 1706720820),  # Snowflake
        ("2024-01-31 09:07:00 -0500", 1706710020),  # Shopify
        ("2024-01-31 09:07:00 +05:30", 1706672220),
        ("2024-01-31 09:07 +01", 1706688420),
        ("2024-01-31 09:07:00.123456 UTC", 1706692020),  # BigQuery
        ("2024-01-31T09:07:00Z[UTC]", 1706692020),  # Java
        ("2024-01-31T09:07:00.5+01:00[Europe/Berlin]", 1706688420),
        ("2024-01-31T09:07+01:00[Europe/Berlin]", 1706688420),
    ],
)
def test_zones_as_exports_write_them(tmp_path: Path, written: str, seconds: int) -> None:
    path = text_log(tmp_path, [written, "2024-01-30 00:00:00"])
    for engine in ("duckdb", "polars", "pandas"):
        data = prepare(path, min_count=1, engine=engine)
        assert data.times is not None
        assert data.times.tolist() == [1706572800, seconds]


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("2024-01-01 09:00:00 PM", "%Y-%m-%d %I:%M:%S %p"),
        ("2024-01-01 9:00 PM", "%Y-%m-%d %I:%M %p"),
        ("31-JAN-24", "%d-%b-%y"),
        ("31-Jan-2024", "%d-%b-%Y"),
    ],
)
def test_the_form_that_would_read_a_time_is_named(tmp_path: Path, written: str, form: str) -> None:
    path = text_log(tmp_path, [written])
    with pytest.raises(DataError, match="would read it") as caught:
        prepare(path, min_count=1)
    assert f"time_format='{form}' would" in str(caught.value)
    data = prepare(path, min_count=1, time_format=form)
    assert data.times is not None
    assert data.times[0] > 1_700_000_000


@given(st.sampled_from([np.float16, np.float32]), st.sampled_from(["item", "time"]), st.booleans())
def test_floats_of_few_bits_are_refused_where_they_are_rounded(
    kind: type[np.floating[Any]], role: str, beyond: bool
) -> None:
    """Items 16777216 and 16777217 are one number in 32 bits, and present-day seconds have steps of two minutes."""
    exact = 2 ** np.finfo(kind).nmant * 2
    values = np.array([1, exact + (2 if beyond else 0)], dtype=kind)
    columns = {"user": np.array([1, 1]), "item": np.array([1, 2]), "time": np.array([1, 2]), role: values}
    for source in (pa.table(columns), pd.DataFrame(columns)):
        if beyond:
            with pytest.raises(
                DataError, match=rf"row 2: {role} .*-bit float beyond 2\^\d\d and may have been rounded"
            ):
                prepare(source, min_count=1)
        else:
            assert prepare(source, min_count=1).num_interactions == 2


def test_short_floats_of_parquet(tmp_path: Path) -> None:
    times = pa.array([1_700_000_000, 1_700_000_010], pa.float64()).cast(pa.float32())
    pq.write_table(pa.table({"user": [1, 1], "item": [1, 2], "time": times}), tmp_path / "log.parquet")
    for engine in ("duckdb", "polars", "pandas"):
        with pytest.raises(DataError, match=r"row 1: time .* is a 32-bit float beyond"):
            prepare(tmp_path / "log.parquet", min_count=1, engine=engine)
