"""Frames of any engine, under the names and in the types that preparation expects."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import narwhals as nw

from mclrec.data.columns import Columns
from mclrec.errors import DataError

__all__ = ["normalised"]


def normalised(
    frame: nw.DataFrame[Any] | nw.LazyFrame[Any], columns: Columns, place: str
) -> nw.LazyFrame[Any]:
    """The columns that matter, under the names of their roles and in the types of `Log`."""
    roles = columns.resolve(frame.collect_schema().names(), place)
    wanted = [nw.col(column).alias(role) for role, column in roles.named.items()]
    if roles.file_order and isinstance(frame, nw.DataFrame):
        frame = frame.select(wanted).with_row_index("sequence")
    elif roles.file_order:
        raise DataError(f"{place}: a lazy frame has no order of rows; name a time or sequence column")
    else:
        frame = frame.select(wanted)
    lazy = frame.lazy()
    schema = lazy.collect_schema()
    _refuse_nulls(lazy, schema, place)
    if schema.get("time") == nw.String:
        lazy = _parsed_time(lazy, place)
        schema = lazy.collect_schema()
    values = [_id(role, schema[role], place) for role in ("user", "item")]
    if "time" in schema:
        values.append(_time(schema["time"], place, spark=lazy.implementation.is_pyspark()))
    if "sequence" in schema:
        values.append(nw.col("sequence"))
    return lazy.select(values)


def _refuse_nulls(frame: nw.LazyFrame[Any], schema: nw.Schema, place: str) -> None:
    # NaN is a null in pandas only.
    bad = {
        role: nw.col(role).is_null() | ~nw.col(role).is_finite()
        if kind.is_float()
        else nw.col(role).is_null()
        for role, kind in schema.items()
    }
    counts = frame.select(
        nw.len().alias("rows"), *(test.cast(nw.Int64).sum().alias(role) for role, test in bad.items())
    ).collect("pyarrow")
    found = {role: int(counts.item(0, role) or 0) for role in counts.columns}
    if not found.pop("rows"):
        raise DataError(f"{place}: has no rows")
    missing = [f"{count} without {role}" for role, count in found.items() if count]
    if missing:
        raise DataError(f"{place}: rows {', '.join(missing)}; remove them or fill them in")


def _id(role: str, kind: nw.dtypes.DType, place: str) -> nw.Expr:
    if kind in {nw.UInt64, nw.Int128, nw.UInt128}:
        raise DataError(
            f"{place}: the {role} column holds {kind}; cast it to Int64, or to strings if it does not fit"
        )
    if kind.is_integer():
        return nw.col(role).cast(nw.Int64)
    if kind in {nw.String, nw.Categorical, nw.Enum, nw.Object}:
        return nw.col(role).cast(nw.String)
    raise DataError(f"{place}: the {role} column holds {kind}; ids are integers or strings")


def _parsed_time(frame: nw.LazyFrame[Any], place: str) -> nw.LazyFrame[Any]:
    """Text parsed as timestamps; pandas and Polars find out the format."""
    if not (frame.implementation.is_pandas() or frame.implementation.is_polars()):
        raise DataError(f"{place}: the time column holds text; cast it to a timestamp")
    polars = nw.dependencies.get_polars()
    failures = (ValueError,) if polars is None else (ValueError, polars.exceptions.PolarsError)
    held = frame.collect()  # Polars finds out zones in a column that it holds only
    try:
        return held.with_columns(held["time"].str.to_datetime()).lazy()
    except failures as problem:
        what = str(problem).partition("\n")[0]
        raise DataError(f"{place}: the time column holds text that is no ISO date: {what}") from None


def _time(kind: nw.dtypes.DType, place: str, *, spark: bool) -> nw.Expr:
    """The time as an integer, a float, or seconds since 1970 as a float."""
    time = nw.col("time")
    if kind.is_integer():
        return time.cast(nw.Int64)
    if kind.is_float() or kind.is_decimal():
        return time.cast(nw.Float64)
    if kind == nw.Date:
        time = time.cast(nw.Datetime("us"))
    elif kind != nw.Datetime:
        raise DataError(f"{place}: the time column holds {kind}; cast it to a number, date or timestamp")
    elif isinstance(kind, nw.Datetime) and kind.time_zone is not None:
        time = time.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if spark:
        return _microseconds(time) / 1e6
    return (time - datetime(1970, 1, 1)).dt.total_microseconds() / 1e6


def _microseconds(time: nw.Expr) -> nw.Expr:
    """Since 1970, from the parts of a timestamp: narwhals subtracts no timestamps on Spark."""
    year = time.dt.year().cast(nw.Int64)
    leap_days = (year - 1969) // 4 - (year - 1901) // 100 + (year - 1601) // 400
    days = (year - 1970) * 365 + leap_days + time.dt.ordinal_day().cast(nw.Int64) - 1
    hours = days * 24 + time.dt.hour().cast(nw.Int64)
    minutes = hours * 60 + time.dt.minute().cast(nw.Int64)
    seconds = minutes * 60 + time.dt.second().cast(nw.Int64)
    # Before 1970 Spark's share of a second is negative.
    return seconds * 1_000_000 + time.dt.microsecond().cast(nw.Int64) % 1_000_000
