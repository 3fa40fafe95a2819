"""Text as tables in DuckDB: read by DuckDB itself, or filled with rows that Python parses from irregular files.

DuckDB reads well-formed files quickly. What it refuses, or is known to misread, is read again in Python, which either
succeeds or reports the line that is wrong, so that users never see a message of DuckDB.
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

_ROWS = 1 << 16  # per batch
_BUFFER = 1 << 25

Row = Sequence[Any]


class TextLog(Protocol):
    """A log in a text file.

    Attributes:
        path: path of the file.
        file_order: whether rows are ordered by their place in the file alone, without a column for the order.
        format: the detected format, in words.
        names: names of all columns, if they have names.
        columns: column names by role.
        doubts: ambiguous choices of columns.
        inner: fields of the objects in lists, by role.
        wanted: columns that the condition needs, by their roles in it.
        watched: columns whose values are counted, with the kind of each.
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
        """Create the table ``log``, with a column per role (condition and watched ones included); return the roles."""

    def line_of(self, row: int) -> int:
        """Number of the line at which a row of the table begins."""


def sql_text(value: object) -> str:
    """An SQL string literal."""
    return "'" + str(value).replace("'", "''") + "'"


def sql_name(column: str) -> str:
    """An SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def read_by_duckdb(
    connection: duckdb.DuckDBPyConnection, file: TextFile, folder: Path, query: Callable[[str], str]
) -> bool:
    """Create the table ``log`` with DuckDB's own reader.

    Args:
        connection: database in which the table is created.
        file: file to read.
        folder: folder for a link to the file under a name that is not a pattern.
        query: maps the file's name, as an SQL literal, to a query for the rows.

    Returns:
        Whether DuckDB could read the file; if not, no table is created.
    """
    [link] = linked([file.content], folder, ".gz" if file.zipped else ".text")
    try:
        connection.execute(f"CREATE TABLE log AS {query(sql_text(_literal(link)))}")
    except (duckdb.InvalidInputException, duckdb.ConversionException, UnicodeDecodeError):
        return False  # UnicodeDecodeError: DuckDB's message cut a character in two
    except duckdb.IOException as problem:
        if "GZIP" not in str(problem):
            raise
        return False  # Python reads some gzip headers that DuckDB does not
    finally:
        link.unlink()
    return True


def _literal(path: Path) -> str:
    """A pattern that matches only this path: DuckDB also expands wildcards in the name of TMPDIR."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))


def compression(file: TextFile) -> str:
    """DuckDB's option for the compression of a file, whatever its name is."""
    return f"compression = '{'gzip' if file.zipped else 'uncompressed'}'"


def csv_options(file: TextFile) -> str:
    """Options of DuckDB's CSV reader that depend on the file."""
    longest = max(file.longest + 1024, 1 << 21)
    buffer = max(_BUFFER, 2 * longest)
    return (
        f"auto_detect = false, {compression(file)}, max_line_size = {longest}, buffer_size = {buffer}, "
        f"strict_mode = true, hive_partitioning = false"
    )


def fill(
    connection: duckdb.DuckDBPyConnection, kinds: dict[str, pa.DataType], rows: Iterator[Row], place: str
) -> None:
    """Create the table ``log`` from Python rows.

    Raises:
        DataError: a value is not valid Unicode text; errors of ``rows`` are passed on.
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
            raise DataError(f"{place}: contains half of a surrogate pair, which is not a character") from None
        yield pa.record_batch(columns, schema=schema)


def store(
    connection: duckdb.DuckDBPyConnection,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    table: str = "log",
) -> None:
    """Create a table from Arrow batches; errors of the iterator are raised unchanged, not as errors of DuckDB."""
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
