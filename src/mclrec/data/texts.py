"""Text logs as DuckDB tables: delimited text, JSON lines, or one user per line."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import duckdb

from mclrec.data.columns import Columns, Roles, has_known_name
from mclrec.errors import DataError

__all__ = ["DELIMITED", "JSON", "load_text", "sql_text", "suffix_of"]

DELIMITED = {".csv", ".tsv", ".dat", ".data", ".inter", ".txt"}
JSON = {".jsonl", ".ndjson", ".json"}
_BLOCK = 1 << 20
_POSITIONS = {
    2: ("1", "2", None),
    3: ("1", "2", "3"),
}  # headerless user, item[, time]; with more, time is 4th
# Canonical integers only: try_cast alone rounds '1.5' and reads '007'.
_BIGINT = "try_cast({0} AS BIGINT)::VARCHAR = {0}"


def load_text(
    connection: duckdb.DuckDBPyConnection, path: Path, suffix: str, columns: Columns, header: bool | None
) -> tuple[duckdb.DuckDBPyRelation, Columns]:
    """Load a text file; ids are integers where all are, times are numbers.

    Args:
        connection: gets the table ``log``.
        path: the file.
        suffix: its type, one of `DELIMITED` or `JSON`.
        columns: as `mclrec.data.readers.read_log` takes them.
        header: likewise.

    Returns:
        The table, and the names of its columns.

    Raises:
        DataError: empty or malformed file, unknown column, a time that is none.
        duckdb.Error: a malformed line; see `mclrec.data.readers.engine_errors`.
    """
    _refuse_cut_off(path)
    first_line = 1
    if suffix in JSON:
        roles = _load_json(connection, path, columns)
    else:
        first, second = _first_lines(path)
        if suffix == ".txt" and not any(sign in first for sign in (",", ";", "::")):
            roles = _load_sequences(connection, path)
        else:
            delimiter = "\t" if suffix in {".tsv", ".inter"} else _delimiter(first)
            table = _Delimited(path, delimiter, _fields(first, delimiter), _fields(second, delimiter), header)
            roles = table.load(connection, columns)
            first_line = 1 + table.header
    return _typed(connection, roles, path, first_line), Columns(**roles)


def sql_text(value: object) -> str:
    """An SQL string literal."""
    return "'" + str(value).replace("'", "''") + "'"


def suffix_of(path: Path) -> str:
    """File type in lower case, without ``.gz``."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def _open(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _refuse_cut_off(path: Path) -> None:
    """Read a gzipped file to its checksum: DuckDB before 2.0 takes a truncated one for a short one."""
    if path.suffix.lower() != ".gz":
        return
    try:
        with gzip.open(path) as file:
            while file.read(_BLOCK):
                pass
    except (OSError, EOFError, zlib.error) as problem:
        raise DataError(f"{path}: cannot be read: {problem}") from None


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
    """The separator that occurs most often in a line; ``::`` wins, as it is never accidental."""
    return "::" if "::" in line else max(",", "\t", ";", "|", key=line.count)


def _fields(line: str, delimiter: str) -> list[str]:
    values = line.split(delimiter) if delimiter == "::" else next(csv.reader([line], delimiter=delimiter), [])
    return [value.strip() for value in values]


def _is_value(text: str) -> bool:
    """Whether a field is a number or a date, and so not the name of a column."""
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
        plain = self.delimiter == "::" or suffix_of(self.path) == ".inter"
        quote = "''" if plain else "'\"'"
        connection.execute(
            f"CREATE TABLE log AS SELECT {wanted} FROM read_csv({sql_text(self.path)}, columns = {{{kinds}}}, "  # noqa: S608 - the path is quoted, the rest is ours
            f"auto_detect = false, header = {self.header}, delim = {sql_text(self.delimiter)}, quote = {quote}, "
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
    kinds = ", ".join(f"{sql_text(column)}: 'VARCHAR'" for column in roles.named.values())
    wanted = ", ".join(f"{_name(column)} AS {_name(role)}" for role, column in roles.named.items())
    try:
        connection.execute(
            f"CREATE TABLE log AS SELECT {wanted} FROM read_ndjson({sql_text(path)}, columns = {{{kinds}}})"  # noqa: S608 - names and path are quoted
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
    """Load a file of one user per line as rows of user, item and position in the line."""
    connection.execute(
        "CREATE TABLE lines AS SELECT string_split_regex(trim(line, E' \\t\\r'), '\\s+') AS parts "  # noqa: S608 - the path is quoted
        f"FROM read_csv({sql_text(path)}, columns = {{'line': 'VARCHAR'}}, auto_detect = false, header = false, "
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
    """Number of values of a column that do not fit, and the row of the first."""
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
