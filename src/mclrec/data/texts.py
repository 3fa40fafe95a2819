"""Text logs as DuckDB tables: delimited text, JSON, or one user per line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb

from mclrec.data.columns import Columns
from mclrec.data.delimited import DelimitedLog
from mclrec.data.intake import Found, taken_columns
from mclrec.data.json_logs import JsonLog
from mclrec.data.places import JSON, suffix_of
from mclrec.data.text_files import open_text
from mclrec.data.text_tables import TextLog
from mclrec.data.typed_text import Typed, typed
from mclrec.data.user_lines import UserLines, are_user_lines

__all__ = ["load_text"]


def load_text(
    connection: duckdb.DuckDBPyConnection, path: Path, folder: Path, columns: Columns, header: bool | None
) -> Typed:
    """Load a text file; ids are integers where all are, times are numbers.

    Args:
        connection: gets the table ``log``.
        path: a regular file of one of the types of text.
        folder: for a link to it while it is read.
        columns: as `mclrec.data.readers.read_log` takes them.
        header: likewise.

    Raises:
        DataError: empty or malformed file, unknown column, missing values, a time that is none.
    """
    log = _opened(path, columns, header)
    roles = log.load(connection, folder)
    columns_taken = taken_columns(log.columns, _first_row(connection))
    found = typed(
        connection, roles, str(path), lambda row: f"{path}:{log.line_of(row)}", file_order=log.file_order
    )
    return replace(found, found=Found(log.format, columns_taken))


def _opened(path: Path, columns: Columns, header: bool | None) -> TextLog:
    file = open_text(path)
    if suffix_of(path) in JSON:
        return JsonLog(file, columns)
    file.check_lines()
    if suffix_of(path) == ".txt" and are_user_lines(file):
        return UserLines(file, columns, header)
    return DelimitedLog(file, columns, header)


def _first_row(connection: duckdb.DuckDBPyConnection) -> dict[str, object]:
    """The first row of the table ``log``, by role; nothing if it has none."""
    rows = connection.execute("SELECT * FROM log LIMIT 1")
    names = [str(column[0]) for column in rows.description or []]
    return dict(zip(names, rows.fetchone() or (), strict=False))
