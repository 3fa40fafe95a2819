"""Read an interaction log, from a file or a data frame, as one lazy table: user, item, time, sequence.

Files are read by DuckDB into a temporary database on disk, so that a log larger than memory spills. What comes
out is a narwhals frame on the engine that holds the rows; `mclrec.data.prepare` goes on from there with one code
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

import csv
import gzip
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import duckdb
import narwhals as nw

from mclrec.data.columns import Columns, Roles, has_known_name
from mclrec.errors import DataError

__all__ = ["Log", "engine_errors", "read_log"]

_MEMORY = "2GB"  # of DuckDB; sorts and joins that need more spill to the temporary directory
_DELIMITED = {".csv", ".tsv", ".dat", ".data", ".inter", ".txt"}
_JSON = {".jsonl", ".ndjson", ".json"}
_PARQUET = {".parquet", ".pq"}
_POSITIONS = {
    2: ("1", "2", None),
    3: ("1", "2", "3"),
}  # headerless user, item[, time]; with more, time is 4th
# Canonical integers only: try_cast alone rounds '1.5' and reads '007'.
_BIGINT = "try_cast({0} AS BIGINT)::VARCHAR = {0}"


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


def read_log(source: Any, *, columns: Columns | None = None, header: bool | None = None) -> Log:
    """Open a log; use it in a ``with`` block.

    Args:
        source: path of a file, folder or Parquet pattern, or a pandas, Polars or DuckDB frame.
        columns: names of the columns; those not given are guessed from the usual ones.
        header: whether delimited text begins with a line of names. Guessed when None: it does if a name is a
            usual one, or if no field is a number or date. Without header: user, item[, rating], time.

    Raises:
        DataError: missing, empty or malformed file; unknown column; null or unusable values.
    """
    columns = columns or Columns()
    if isinstance(source, str | Path):
        return _read_path(Path(source), columns, header)
    try:
        frame = nw.from_native(source)
    except TypeError:
        raise DataError(
            f"cannot read a {type(source).__name__}: give a path, or a pandas, Polars or DuckDB frame"
        ) from None
    place = f"{frame.implementation} frame".replace("Implementation.", "").lower()
    return Log(_normalised(frame, columns, place), place, "data")


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


# -------------------------------------------------------------------------------- files


def _read_path(path: Path, columns: Columns, header: bool | None) -> Log:
    pattern = not path.exists() and any(sign in path.name for sign in "*?[")
    if not pattern and not path.exists():
        raise DataError(f"{path}: no such file")
    suffix = _suffix(path)
    if pattern or path.is_dir():
        suffix = ".parquet"
    if suffix not in _DELIMITED | _JSON | _PARQUET:
        known = " ".join(sorted(_DELIMITED | _JSON | _PARQUET))
        raise DataError(
            f"{path}: cannot read files of type {suffix or '(none)'!r}; known: {known} (text also .gz)"
        )
    with ExitStack() as stack:
        connection = _connect(stack)
        with engine_errors(str(path)):
            frame = _read_file(connection, path, suffix, columns, header)
        return Log(frame, str(path), path.name.partition(".")[0] or path.name, stack.pop_all())


def _read_file(
    connection: duckdb.DuckDBPyConnection, path: Path, suffix: str, columns: Columns, header: bool | None
) -> nw.LazyFrame[Any]:
    if suffix in _PARQUET:
        files = path / "**" / "*.parquet" if path.is_dir() else path
        relation = connection.sql(f"FROM read_parquet({_text(files)})")
        return _normalised(nw.from_native(relation), columns, str(path))
    if suffix in _JSON:
        roles = _load_json(connection, path, columns)
        first_line = 1
    else:
        first, second = _first_lines(path)
        if suffix == ".txt" and not any(sign in first for sign in (",", ";", "::")):
            roles = _load_sequences(connection, path)
            first_line = 1
        else:
            delimiter = "\t" if suffix in {".tsv", ".inter"} else _delimiter(first)
            table = _Delimited(path, delimiter, _fields(first, delimiter), _fields(second, delimiter), header)
            roles = table.load(connection, columns)
            first_line = 1 + table.header
    return _normalised(
        nw.from_native(_typed(connection, roles, path, first_line)), Columns(**roles), str(path)
    )


def _connect(stack: ExitStack) -> duckdb.DuckDBPyConnection:
    """A database in a temporary directory that goes when ``stack`` closes."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mclrec-")))
    connection = duckdb.connect(str(folder / "log.duckdb"))
    stack.callback(connection.close)
    connection.execute(f"SET memory_limit = '{_MEMORY}'")
    connection.execute(f"SET temp_directory = {_text(folder / 'spill')}")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _text(value: object) -> str:
    """An SQL string literal."""
    return "'" + str(value).replace("'", "''") + "'"


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def _open(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _first_lines(path: Path) -> tuple[str, str]:
    """The first two lines that are not blank; the second may be missing."""
    try:
        with _open(path) as file:
            lines = (line.rstrip("\r\n") for line in file)
            filled = (line for line in lines if line.strip())
            first, second = next(filled, ""), next(filled, "")
    except (OSError, EOFError) as problem:
        raise DataError(f"{path}: cannot be read: {problem}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text") from None
    if not first:
        raise DataError(f"{path}: is empty")
    return first, second


# -------------------------------------------------------------------------------- delimited text


def _delimiter(line: str) -> str:
    """The sign that separates most fields of a line; ``::`` wins, as it cannot be chance."""
    return "::" if "::" in line else max(",", "\t", ";", "|", key=line.count)


def _fields(line: str, delimiter: str) -> list[str]:
    values = line.split(delimiter) if delimiter == "::" else next(csv.reader([line], delimiter=delimiter), [])
    return [value.strip() for value in values]


def _is_value(text: str) -> bool:
    """Whether a field is a number or a date, which no column is called."""
    return re.fullmatch(r"[-+]?\d[\d.eE+:TZ\s-]*", text) is not None


@dataclass
class _Delimited:
    """Delimited text, and whether its first line is a header."""

    path: Path
    delimiter: str
    first: list[str]
    second: list[str]
    header_given: bool | None

    @property
    def header(self) -> bool:
        if self.header_given is not None:
            return self.header_given
        return not any(_is_value(value) for value in self.first) or has_known_name(self.first)

    def load(self, connection: duckdb.DuckDBPyConnection, columns: Columns) -> dict[str, Any]:
        """Make the table ``log``; return which roles it has, as keywords of `Columns`."""
        names = self.first if self.header else [str(place) for place in range(1, len(self.first) + 1)]
        if self.header and not self.second:
            raise DataError(f"{self.path}: has a header and no rows")
        roles = (columns if self.header else _by_position(columns, len(names))).resolve(names, str(self.path))
        wanted = ", ".join(f'c{names.index(column)} AS "{role}"' for role, column in roles.named.items())
        kinds = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(names)))
        plain = self.delimiter == "::" or _suffix(self.path) == ".inter"
        quote = "''" if plain else "'\"'"
        connection.execute(
            f"CREATE TABLE log AS SELECT {wanted} FROM read_csv({_text(self.path)}, columns = {{{kinds}}}, "  # noqa: S608 - the path is quoted, the rest is ours
            f"auto_detect = false, header = {self.header}, delim = {_text(self.delimiter)}, quote = {quote}, "
            f"escape = {quote})"
        )
        return _keywords(roles)


def _by_position(columns: Columns, count: int) -> Columns:
    """Headerless text: user, item, then the time, which comes fourth where there is a rating."""
    user, item, time = _POSITIONS.get(count, ("1", "2", "4"))
    if columns.file_order or columns.sequence is not None:
        time = None
    return Columns(
        user=columns.user or user,
        item=columns.item or item,
        time=columns.time or time,
        sequence=columns.sequence,
        file_order=columns.file_order,
    )


def _keywords(roles: Roles) -> dict[str, Any]:
    """Keywords of `Columns` for a table whose columns are called by their roles."""
    named: dict[str, Any] = {role: role for role in roles.named}
    if roles.file_order:
        named["sequence"] = "sequence"
    return named


# -------------------------------------------------------------------------------- other text


def _load_json(connection: duckdb.DuckDBPyConnection, path: Path, columns: Columns) -> dict[str, Any]:
    first, _ = _first_lines(path)
    try:
        row = json.loads(first)
    except json.JSONDecodeError as problem:
        raise DataError(f"{path}:1: line is not JSON: {problem.msg}") from None
    if not isinstance(row, dict):
        raise DataError(f"{path}:1: line is not a JSON object; one object a line is read")
    roles = columns.resolve(list(row), str(path))
    # Read as text, like a csv: integers and strings of digits are then the same ids.
    kinds = ", ".join(f"{_text(column)}: 'VARCHAR'" for column in roles.named.values())
    wanted = ", ".join(f"{_name(column)} AS {_name(role)}" for role, column in roles.named.items())
    try:
        connection.execute(
            f"CREATE TABLE log AS SELECT {wanted} FROM read_ndjson({_text(path)}, columns = {{{kinds}}})"  # noqa: S608 - names and path are quoted
        )
    except duckdb.Error:
        raise _json_error(path) from None
    return _keywords(roles)


def _name(column: str) -> str:
    """An SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def _json_error(path: Path) -> DataError:
    """The first malformed line: DuckDB's own count is not reliable."""
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                json.loads(line or "null")
            except json.JSONDecodeError as problem:
                if line.strip():
                    return DataError(f"{path}:{number}: line is not JSON: {problem.msg}")
    return DataError(f"{path}: not one JSON object a line")


def _load_sequences(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, Any]:
    """One user a line, items in order: rows of user, item and place in the line."""
    connection.execute(
        "CREATE TABLE lines AS SELECT string_split_regex(trim(line, E' \\t\\r'), '\\s+') AS parts "  # noqa: S608 - the path is quoted
        f"FROM read_csv({_text(path)}, columns = {{'line': 'VARCHAR'}}, auto_detect = false, header = false, "
        "delim = '\x01', quote = '', escape = '')"
    )
    twice = "parts[1] IN (SELECT parts[1] FROM lines GROUP BY ALL HAVING count(*) > 1)"
    _refuse_lines(connection, path, "min", "len(parts) = 1", "has a user and no item")
    _refuse_lines(connection, path, "max", twice, "has a user that has another line")
    connection.execute(
        'CREATE TABLE log AS SELECT parts[1] AS "user", unnest(parts[2:]) AS item, '
        "unnest(range(1, len(parts))) AS sequence FROM lines WHERE parts[1] <> ''"
    )
    return {"user": "user", "item": "item", "sequence": "sequence"}


def _refuse_lines(
    connection: duckdb.DuckDBPyConnection, path: Path, which: str, condition: str, what: str
) -> None:
    query = f"SELECT {which}(rowid) FROM lines WHERE parts[1] <> '' AND {condition}"  # noqa: S608 - ours
    [(row,)] = connection.execute(query).fetchall()
    if row is not None:
        raise DataError(f"{path}:{row + 1}: line {what}; a line is 'user item item ...'")


def _typed(
    connection: duckdb.DuckDBPyConnection, roles: dict[str, Any], path: Path, first_line: int
) -> duckdb.DuckDBPyRelation:
    """The table ``log`` of text with ids as integers where all are, and times as numbers."""
    wanted = [f"{_id_type(connection, role)} AS {_name(role)}" for role in ("user", "item")]
    if "time" in roles:
        wanted.append(f"{_time_type(connection, path, first_line)} AS time")
    if "sequence" in roles:
        kinds = {row[0]: row[1] for row in connection.execute("DESCRIBE log").fetchall()}
        wanted.append(_sequence_type(connection, kinds.get("sequence")) + " AS sequence")
    return connection.sql(f"SELECT {', '.join(wanted)} FROM log")  # noqa: S608 - names are ours


def _unfit(connection: duckdb.DuckDBPyConnection, role: str, fits: str) -> tuple[int, int | None]:
    """How many values of a column do not fit, and the first row of them."""
    bad = f"{_name(role)} IS NOT NULL AND NOT coalesce({fits}, false)"
    [(count, row)] = connection.execute(f"SELECT count(*), min(rowid) FROM log WHERE {bad}").fetchall()  # noqa: S608 - names are ours
    return count, row


def _id_type(connection: duckdb.DuckDBPyConnection, role: str) -> str:
    integers = _unfit(connection, role, _BIGINT.format(_name(role)))[0] == 0
    return f"CAST({_name(role)} AS BIGINT)" if integers else _name(role)


def _sequence_type(connection: duckdb.DuckDBPyConnection, kind: str | None) -> str:
    if kind is None:
        return "rowid"  # file order: the table keeps it
    if kind != "VARCHAR":
        return "sequence"
    numbers = _unfit(connection, "sequence", "try_cast(sequence AS DOUBLE) IS NOT NULL")[0] == 0
    return "CAST(sequence AS DOUBLE)" if numbers else "sequence"


def _time_type(connection: duckdb.DuckDBPyConnection, path: Path, first_line: int) -> str:
    """Expression for the time: an integer, a float, or seconds since 1970 as a float."""
    kinds = {
        "CAST(time AS BIGINT)": _BIGINT.format("time"),
        "CAST(time AS DOUBLE)": "try_cast(time AS DOUBLE) IS NOT NULL",
        "epoch_us(CAST(time AS TIMESTAMPTZ)) / 1e6": "try_cast(time AS TIMESTAMPTZ) IS NOT NULL",
    }
    unfit = {}
    for expression, fits in kinds.items():
        unfit[expression] = _unfit(connection, "time", fits)
        if unfit[expression][0] == 0:
            return expression
    _, row = min(unfit.values())
    value = connection.execute("SELECT time FROM log WHERE rowid = ?", [row]).fetchall()[0][0]
    raise DataError(f"{path}:{(row or 0) + first_line}: time {value!r} is neither a number nor an ISO date")


# -------------------------------------------------------------------------------- frames


def _normalised(
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
        values.append(_time(schema["time"], place))
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


def _time(kind: nw.dtypes.DType, place: str) -> nw.Expr:
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
    return (time - datetime(1970, 1, 1)).dt.total_microseconds() / 1e6
