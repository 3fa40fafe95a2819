"""Read an interaction log, from a file or a data frame, as one lazy table: user, item, time, sequence.

Files are read by DuckDB into a temporary database on disk, so that a log larger than memory spills. What comes
out is a narwhals frame on the engine that holds the rows; `mclrec.data.preparation` goes on from there with one code
for all engines.

| file | read as |
| --- | --- |
| ``.csv .tsv .dat .data`` | delimited text: comma, tab, ``;``, ``|`` or ``::``, with a header or without |
| ``.inter`` | RecBole: tabs, header of ``name:type`` |
| ``.jsonl .ndjson .json`` | one JSON object a line |
| ``.parquet .pq``, a folder or a pattern | Parquet |
| ``.txt`` | one user a line, ``user item item ...`` in order, blanks between, no header; delimited text if the first line holds a comma, ``;`` or ``::`` |

Text may be gzipped (``.gz``). In text and JSON, ids that are integers throughout are integers ("007" is not); in
Parquet and in frames their type says what they are.
"""  # noqa: E501 - a table row is one line

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import narwhals as nw

from mclrec.data.backends import check_engine, move_table, scan_parquet
from mclrec.data.columns import Columns
from mclrec.data.texts import DELIMITED, JSON, load_text, sql_text, suffix_of
from mclrec.errors import ConfigError, DataError

__all__ = ["Log", "engine_errors", "path_exists", "read_log"]

_MEMORY = "2GB"  # of DuckDB; sorts and joins that need more spill to the temporary directory
_PARQUET = {".parquet", ".pq"}
_SHOWN = 60  # characters of what cannot be a path


@dataclass
class Log:
    """A log as a lazy table; closing it removes the temporary database.

    Attributes:
        frame: columns ``user`` and ``item`` (Int64 or String), and where the log has them ``time`` (Int64 or
            Float64) and ``sequence``; no nulls.
        place: file name or kind of frame, for messages.
        name: how reports call the log.
    """

    frame: nw.LazyFrame[Any]
    place: str
    name: str
    resources: ExitStack = field(default_factory=ExitStack, repr=False)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resources.close()


def read_log(
    source: Any,
    *,
    columns: Columns | None = None,
    header: bool | None = None,
    engine: str | None = None,
) -> Log:
    """Open a log; use it in a ``with`` block.

    Args:
        source: path of a file, folder or Parquet pattern, or a frame of any engine that narwhals takes.
        columns: names of the columns; those not given are guessed from the usual ones.
        header: whether delimited text begins with a line of names. Guessed when None: it does if a name is a
            usual one, or if no field is a number or date. Without header: user, item[, rating], time.
        engine: one of `mclrec.data.backends.ENGINES` for files, DuckDB if None; a frame has its own.

    Raises:
        DataError: missing, empty or malformed file; unknown column; null or unusable values.
        ConfigError: there is no such engine, or it is not installed.
    """
    columns = columns or Columns()
    check_engine(engine or "duckdb")
    if isinstance(source, str | Path):
        if engine == "spark" and "://" in str(source):
            name = str(source).rstrip("/").rpartition("/")[2]
            return Log(normalised(scan_parquet(str(source), engine), columns, str(source)), str(source), name)
        return _read_path(Path(source), columns, header, engine or "duckdb")
    if engine is not None:
        raise ConfigError(
            f"a frame is prepared by its own engine, not by {engine}: give a path, or no engine"
        )
    try:
        frame = nw.from_native(source)
    except TypeError:
        raise DataError(
            f"cannot read a {type(source).__name__}: give the name of a data set, a path, or a frame (pandas, Polars, "
            "DuckDB, PyArrow, Spark)"
        ) from None
    place = f"{frame.implementation} frame".replace("Implementation.", "").lower()
    return Log(normalised(frame, columns, place), place, "data")


def path_exists(path: Path) -> bool:
    """Whether there is such a file or folder.

    Raises:
        DataError: the text cannot be a path: it is empty, too long or not printable.
    """
    text = str(path)
    try:
        if path != Path() and (path.exists() or text.isprintable()):
            return path.exists()
        reason = "it is empty" if path == Path() else "it is not printable"
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
    shown = "" if path == Path() else text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    raise DataError(f"{shown!r} is neither the name of a data set nor a path: {reason.lower()}")


@contextmanager
def engine_errors(place: str) -> Iterator[None]:
    """Turn DuckDB's errors into one line with file and line number."""
    try:
        yield
    except duckdb.Error as problem:
        text = str(problem)
        line = re.search(r"CSV Error on Line: (\d+)", text)
        if line is None:
            raise DataError(f"{place}: cannot be read: {text.splitlines()[0]}") from None
        counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
        if counts is not None:
            what = f"has {counts[2]} columns instead of {counts[1]}"
        elif "unicode" in text.lower():
            what = "is not UTF-8"
        else:
            what = f"is malformed: {text.splitlines()[2]}"
        raise DataError(f"{place}:{line[1]}: line {what}") from None


def _read_path(path: Path, columns: Columns, header: bool | None, engine: str) -> Log:
    there = path_exists(path)
    pattern = not there and any(sign in path.name for sign in "*?[")
    if not pattern and not there:
        raise DataError(f"{path}: no such file")
    suffix = suffix_of(path)
    if pattern or path.is_dir():
        suffix = ".parquet"
    if suffix not in DELIMITED | JSON | _PARQUET:
        known = " ".join(sorted(DELIMITED | JSON | _PARQUET))
        raise DataError(
            f"{path}: cannot read files of type {suffix or '(none)'!r}; known: {known} (text also .gz)"
        )
    with ExitStack() as stack:
        if suffix in _PARQUET and engine != "duckdb":
            frame = normalised(scan_parquet(_files(path), engine), columns, str(path))
        else:
            connection = _connect(stack)
            with engine_errors(str(path)):
                frame = _read_file(connection, path, suffix, columns, header)
            if engine != "duckdb":
                frame = move_table(frame, engine, stack)
        return Log(frame, str(path), path.name.partition(".")[0] or path.name, stack.pop_all())


def _read_file(
    connection: duckdb.DuckDBPyConnection, path: Path, suffix: str, columns: Columns, header: bool | None
) -> nw.LazyFrame[Any]:
    if suffix in _PARQUET:
        relation = connection.sql(f"FROM read_parquet({sql_text(_files(path))})")
        return normalised(nw.from_native(relation), columns, str(path))
    relation, names = load_text(connection, path, suffix, columns, header)
    return normalised(nw.from_native(relation), names, str(path))


def _files(path: Path) -> str:
    """A file or pattern; of a folder all that is Parquet in it, which is read part by part, never merged."""
    return str(path / "**" / "*.parquet" if path.is_dir() else path)


def _connect(stack: ExitStack) -> duckdb.DuckDBPyConnection:
    """A database in a temporary directory that goes when ``stack`` closes."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mclrec-")))
    connection = duckdb.connect(str(folder / "log.duckdb"))
    stack.callback(connection.close)
    connection.execute(f"SET memory_limit = '{_MEMORY}'")
    connection.execute(f"SET temp_directory = {sql_text(folder / 'spill')}")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


# -------------------------------------------------------------------------------- frames of any engine


def normalised(
    frame: nw.DataFrame[Any] | nw.LazyFrame[Any], columns: Columns, place: str
) -> nw.LazyFrame[Any]:
    """Select the columns that have a role, under its name and in the types of `Log`."""
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
