"""Logs that Spark itself reads, in its cluster: those whose column types it holds without loss."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import pyarrow as pa

from mclrec.data.columns import Columns, Roles
from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.intake import Found, Watched, taken_columns
from mclrec.data.origin import Reading
from mclrec.data.raw_tables import ParquetTable, RawTable, SparkTable
from mclrec.data.typed_text import missing
from mclrec.data.watched_columns import watched_columns, watched_in_frame
from mclrec.errors import DataError
from mclrec.wording import count_of

__all__ = ["is_spark", "of_spark", "spark_holds", "spark_reads", "spark_table"]

_MICROSECONDS = 10**6
_LOSSLESS = (
    pa.types.is_signed_integer,
    pa.types.is_float64,
    pa.types.is_string,
    pa.types.is_date32,
)


def is_spark(source: Any) -> bool:
    """Whether a source is a Spark data frame."""
    native = nw.to_native(source, pass_through=True)
    return nw.dependencies.is_pyspark_dataframe(native) or nw.dependencies.is_pyspark_connect_dataframe(
        native
    )


def spark_reads(raw: ParquetTable, reading: Reading) -> bool:
    """Whether Spark reads the same from Parquet files as Arrow does, so that it may read them itself."""
    columns = reading.columns or Columns()
    if _needs_arrow(reading):
        return False
    roles = columns.resolve(raw.names, raw.place)
    if roles.file_order or len({name.lower() for name in raw.names}) != len(raw.names):
        return False
    named = roles.named
    parts = [types for _, types in raw.types([raw.names.index(column) for column in named.values()])]
    if any(types != parts[0] for types in parts):
        return False
    return all(_is_plain(role, kind) for role, kind in zip(named, parts[0], strict=True))


def _needs_arrow(reading: Reading) -> bool:
    """Whether the options include one that reading by Spark does not support."""
    columns = reading.columns
    lists = columns is not None and (columns.history is not None or columns.label is not None)
    said = (reading.header, reading.quote, reading.encoding, reading.time_format, reading.where)
    return lists or reading.drop_missing or any(option is not None for option in said)


def spark_holds(source: Any, reading: Reading, place: str) -> bool:
    """Whether Spark holds the types of all used columns without loss, so that the table can stay in Spark."""
    native = nw.to_native(source, pass_through=True)
    if _needs_arrow(reading):
        return False
    with foreign_errors(place, "cannot be read by Spark"):
        names = [str(name) for name in native.columns]
        roles = (reading.columns or Columns()).resolve(names, place)
        kinds = [field.dataType.typeName() for field in native.schema.fields]
    return all(_spark_holds_type(role, kinds[names.index(column)]) for role, column in roles.named.items())


def _spark_holds_type(role: str, kind: str) -> bool:
    numbers = kind in (
        "byte",
        "short",
        "integer",
        "long",
        "double",
    )  # not float: Arrow knows which are rounded
    ids = role in ("user", "item")
    return numbers or (kind == "string" if ids else kind in ("date", "timestamp", "timestamp_ntz"))


def spark_table(source: Any, place: str) -> RawTable:
    """Wrap a Spark table to be read as Arrow, in the driver's memory, for types that only Arrow holds without loss."""
    native = nw.to_native(source, pass_through=True)
    with foreign_errors(place, "cannot be collected"):
        return SparkTable(native, place)


def _is_plain(role: str, kind: pa.DataType) -> bool:
    if role == "time" and pa.types.is_timestamp(kind):
        return kind.unit in ("ms", "us")
    return any(test(kind) for test in _LOSSLESS) and (
        role in ("user", "item") or not pa.types.is_string(kind)
    )


def of_spark(source: Any, columns: Columns, place: str) -> tuple[nw.LazyFrame[Any], int, Found]:
    """A Spark table as a log: the frame, the ticks of its times, and what was found.

    Raises:
        DataError: a column is missing, has a type that cannot be used, or has missing or unusable values.
    """
    native = nw.to_native(source, pass_through=True)
    with foreign_errors(place, "cannot be read by Spark"):
        names = [str(name) for name in native.columns]
        roles = columns.resolve(names, place)
        if roles.file_order and roles.sequence is None:
            raise DataError(
                f"{place}: the rows of a lazy frame have no order; name a column of times or a sequence column"
            )
        # By position: Spark reads dots in names as access to fields of structures.
        renamed = nw.from_native(native.toDF(*[f"c{number}" for number in range(len(names))]))
        frame = renamed.select(
            nw.col(f"c{names.index(column)}").alias(role) for role, column in roles.named.items()
        ).lazy()
        schema = frame.collect_schema()
        kinds = {role: _kind(role, schema[role], place) for role in schema.names()}
        _refuse_values(frame, kinds, place)
        first = frame.head(1).collect("pyarrow").rows(named=True)[0]
        found = Found(
            "read by Spark",
            taken_columns(roles.named, first),
            watched=_watched(native, roles, place),
            day=roles.day,
        )
        return frame.select(_value(role, kind) for role, kind in kinds.items()), _ticks(kinds), found


def _watched(native: Any, roles: Roles, place: str) -> tuple[Watched, ...]:
    """Contents of the watched columns, counted by Spark."""
    table = spark_table(native, place)
    watched = {
        name: kind
        for name, kind in watched_columns(table.names, roles.named.values()).items()
        if table.can_watch(table.names.index(name))
    }
    renamed = nw.from_native(native.toDF(*[f"c{number}" for number in range(len(table.names))])).lazy()
    chosen = [nw.col(f"c{table.names.index(name)}").alias(str(number)) for number, name in enumerate(watched)]
    return watched_in_frame(renamed.select(chosen), watched) if watched else ()


def _kind(role: str, kind: nw.dtypes.DType, place: str) -> nw.dtypes.DType:
    ids = role in ("user", "item")
    if kind.is_integer() or kind.is_float() or (ids and kind == nw.String):
        return kind
    if not ids and kind in (nw.Date, nw.Datetime):
        return kind
    cure = "integers or strings" if ids else "a number, date or timestamp"
    raise DataError(f"{place}: the {role} column holds {kind}; cast it to {cure}")


def _ticks(kinds: dict[str, nw.dtypes.DType]) -> int:
    return _MICROSECONDS if kinds.get("time") in (nw.Date, nw.Datetime) else 1


def _refuse_values(frame: nw.LazyFrame[Any], kinds: dict[str, nw.dtypes.DType], place: str) -> None:
    """Refuse missing values, ids as floats that are not exact integers, and float times beyond 64 bits."""
    tests = {f"{role} missing": _is_missing(role, kind) for role, kind in kinds.items()}
    for role, kind in kinds.items():
        if kind.is_float() and role != "sequence":
            column = nw.col(role).cast(nw.Float64)
            ids = role in ("user", "item")
            odd = (column.floor() != column) | (column.abs() > 2.0**53) if ids else column.abs() >= 2.0**63
            tests[f"{role} odd"] = odd
    counted = [test.cast(nw.Int64).sum().alias(name) for name, test in tests.items()]
    counts = frame.select(nw.len().alias("rows"), *counted).collect("pyarrow")
    found = {name: int(counts.item(0, name) or 0) for name in counts.columns}
    if not found["rows"]:
        raise DataError(f"{place}: has no rows")
    lacking = {role: found[f"{role} missing"] for role in kinds}
    if any(lacking.values()):
        raise missing(place, lacking, "not known")
    for name, count in found.items():
        if name.endswith(" odd") and count:
            what = "beyond 64 bits" if name == "time odd" else "not whole numbers, or beyond 2^53"
            raise DataError(f"{place}: {name.removesuffix(' odd')}: {count_of(count, 'value')} {what}")


def _is_missing(role: str, kind: nw.dtypes.DType) -> nw.Expr:
    column = nw.col(role)
    if kind.is_float():
        return column.is_null() | ~column.is_finite()
    if kind == nw.String:
        return column.is_null() | (column == "")
    return column.is_null()


def _value(role: str, kind: nw.dtypes.DType) -> nw.Expr:
    column = nw.col(role)
    if kind == nw.String:
        return column
    if kind.is_integer() or (kind.is_float() and role in ("user", "item")):
        return column.cast(nw.Int64)
    if kind.is_float():
        return column.cast(nw.Float64) + 0.0  # -0 becomes 0, so that neither sorts first
    if kind == nw.Date:
        column = column.cast(nw.Datetime("us"))
    elif isinstance(kind, nw.Datetime) and kind.time_zone is not None:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return _microseconds(column).alias(role)


def _microseconds(time: nw.Expr) -> nw.Expr:
    """Microseconds since 1970, from the parts of a timestamp: narwhals cannot subtract timestamps on Spark."""
    year = time.dt.year().cast(nw.Int64)
    leap_days = (year - 1969) // 4 - (year - 1901) // 100 + (year - 1601) // 400
    days = (year - 1970) * 365 + leap_days + time.dt.ordinal_day().cast(nw.Int64) - 1
    hours = days * 24 + time.dt.hour().cast(nw.Int64)
    minutes = hours * 60 + time.dt.minute().cast(nw.Int64)
    seconds = minutes * 60 + time.dt.second().cast(nw.Int64)
    # Before 1970, Spark's fraction of a second is negative.
    return seconds * 1_000_000 + time.dt.microsecond().cast(nw.Int64) % 1_000_000
