"""Tables of text in DuckDB: read from a file by DuckDB itself, or row by row from what Python makes of odd files.

DuckDB reads what is well-formed, quickly. What it refuses, and what it is known to take for something else, is read
again in Python, which either reads it, or says which line is wrong: no message of DuckDB reaches anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from mclrec.data.column_values import Doubt
from mclrec.data.intake import WatchedKind
from mclrec.data.places import linked
from mclrec.data.text_files import TextFile
from mclrec.errors import DataError

__all__ = ["TextLog", "compression", "csv_options", "fill", "read_by_duckdb", "sql_name", "sql_text", "store"]

_ROWS = 1 << 16  # of a batch
_BUFFER = 1 << 25

Row = Sequence[Any]


class TextLog(Protocol):
    """A log in a text file.

    Attributes:
        path: of the file.
        file_order: whether its rows are in order, and that is not in a column.
        format: as it was detected, in words.
        names: of all its columns, where it has names.
        columns: their names by role.
        doubts: choices of columns that could have been others.
        inner: fields of the objects in lists, by their roles.
        wanted: columns that the condition needs, by the roles that they have for it.
        watched: columns whose values are counted, with what they hold.
        day: a column that may hold the days of the times.
    """

    path: Path
    file_order: bool
    format: str
    names: list[str]
    columns: dict[str, str]
    doubts: list[Doubt]
    inner: dict[str, str]
    wanted: dict[str, str]
    watched: dict[str, WatchedKind]
    day: str | None

    def load(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
        """Make the table ``log``, whose columns are roles, of a condition and of what is watched too; return which."""

    def line_of(self, row: int) -> int:
        """The number of the line in which a row of the table begins."""


def sql_text(value: object) -> str:
    """An SQL string literal."""
    return "'" + str(value).replace("'", "''") + "'"


def sql_name(column: str) -> str:
    """An SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def read_by_duckdb(
    connection: duckdb.DuckDBPyConnection, file: TextFile, folder: Path, query: Callable[[str], str]
) -> bool:
    """Make the table ``log`` by DuckDB's own reader.

    Args:
        connection: gets the table.
        file: what is read.
        folder: for a link to the file under a name that is no pattern.
        query: the rows, given the file's name as an SQL literal.

    Returns:
        Whether DuckDB could read it; if not, there is no table.
    """
    [link] = linked([file.content], folder, ".gz" if file.zipped else ".text")
    try:
        connection.execute(f"CREATE TABLE log AS {query(sql_text(_literal(link)))}")
    except (duckdb.InvalidInputException, duckdb.ConversionException, UnicodeDecodeError):
        return False  # the last is raised for a message that cuts a character
    except duckdb.IOException as problem:
        if "GZIP" not in str(problem):
            raise
        return False  # Python reads some headers that DuckDB does not
    finally:
        link.unlink()
    return True


def _literal(path: Path) -> str:
    """A pattern that matches this path alone: DuckDB takes signs in the name of TMPDIR for a pattern too."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))


def compression(file: TextFile) -> str:
    """DuckDB's option that says whether a file is zipped, whatever it is called."""
    return f"compression = '{'gzip' if file.zipped else 'uncompressed'}'"


def csv_options(file: TextFile) -> str:
    """Options of DuckDB's reader of delimited text that follow from the file."""
    longest = max(file.longest + 1024, 1 << 21)
    buffer = max(_BUFFER, 2 * longest)
    return (
        f"auto_detect = false, {compression(file)}, max_line_size = {longest}, buffer_size = {buffer}, "
        f"strict_mode = true, hive_partitioning = false"
    )


def fill(
    connection: duckdb.DuckDBPyConnection, kinds: dict[str, pa.DataType], rows: Iterator[Row], place: str
) -> None:
    """Make the table ``log`` of rows from Python.

    Raises:
        DataError: a value is no Unicode text; and whatever ``rows`` raises.
    """
    schema = pa.schema(list(kinds.items()))
    store(connection, schema, _batches(schema, rows, place))


def _batches(schema: pa.Schema, rows: Iterator[Row], place: str) -> Iterator[pa.RecordBatch]:
    while some := list(islice(rows, _ROWS)):
        try:
            columns = [
                pa.array(values, kind)
                for values, kind in zip(zip(*some, strict=True), schema.types, strict=True)
            ]
        except UnicodeEncodeError:
            raise DataError(f"{place}: holds half of a surrogate pair, which is no character") from None
        yield pa.record_batch(columns, schema=schema)


def store(
    connection: duckdb.DuckDBPyConnection,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    table: str = "log",
) -> None:
    """Make a table of Arrow batches; what they raise arrives as it is, not as an error of DuckDB."""
    raised: list[BaseException] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except BaseException as problem:
            raised.append(problem)
            raise

    reader = pa.RecordBatchReader.from_batches(schema, watched())
    try:
        connection.register("batches", reader)
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM batches")  # noqa: S608 - ours
    except duckdb.Error:
        if raised:
            raise raised[0] from None
        raise
    finally:
        connection.unregister("batches")
