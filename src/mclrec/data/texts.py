"""Text logs as DuckDB tables: delimited text, JSON, or one user per line."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from mclrec.data.columns import Columns
from mclrec.data.conditions import is_condition_role
from mclrec.data.delimited import DelimitedLog
from mclrec.data.histories import unroll
from mclrec.data.intake import taken_columns
from mclrec.data.json_logs import JsonLog, are_objects
from mclrec.data.origin import Reading
from mclrec.data.text_files import open_text
from mclrec.data.text_tables import TextLog, sql_name
from mclrec.data.typed_text import Typed, typed
from mclrec.data.unpacking import Unpacked, recoded
from mclrec.data.user_lines import UserLines, are_user_lines, refuse_values
from mclrec.data.wanted_rows import after_condition, keep_wanted
from mclrec.data.watched_columns import is_watched_role, watched_in_table
from mclrec.errors import DataError, quoted
from mclrec.wording import count_of

__all__ = ["load_text"]


def load_text(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Unpacked],
    place: str,
    folder: Path,
    reading: Reading,
) -> Typed:
    """Load text files as one log; ids become integers if all of them are, and times become numbers.

    Args:
        connection: database in which the table ``log`` is created.
        files: text files; all of them need the columns of the first.
        place: the path that was given.
        folder: folder for links to the files while they are read.
        reading: the reading options.

    Raises:
        DataError: empty or malformed file, unknown column, missing values, or an invalid time.
    """
    first = _opened(files[0], reading, folder)
    same = reading if len(files) == 1 else reading.model_copy(update={"columns": _columns(first)})
    logs = [first, *(_opened(file, same, folder) for file in files[1:])]
    for log in logs[1:]:
        _check_alike(first, log)
    starts, roles = _load_all(connection, logs, folder)

    row_place, step, read = _places(logs, starts), None, 0
    if reading.where is not None:
        step, read, row_place = keep_wanted(connection, reading.where, first.wanted, roles, place, row_place)
        roles = [role for role in roles if not is_condition_role(role)]
    several = f", {count_of(len(logs), 'file')}" if len(logs) > 1 else ""
    watched = watched_in_table(connection, first.watched)
    roles = [role for role in roles if not is_watched_role(role)]
    if "history" in roles:
        unrolled = unroll(connection, roles, first.inner, row_place)
        roles, row_place = unrolled.roles, _list_places(connection, row_place)
        several += (
            f", lists of items ({count_of(unrolled.repeated, 'row')} repeat another)"
            if unrolled.repeated
            else ", lists of items"
        )
    found = typed(connection, roles, place, row_place, reading, file_order=first.file_order, day=first.day)
    columns = taken_columns(_shown(first), _first_row(connection))
    told = replace(
        found.found,
        format=first.format + several,
        columns=columns,
        columns_again=_columns(first),
        lists="history" in first.columns or isinstance(first, UserLines),
        text_ids=True,
        followed="history" in first.columns and "item" in first.columns,
        watched=watched,
        day=first.day,
    )
    if step is not None:
        told = after_condition(told, step, read)
    return replace(found, found=told, doubts=[f"{first.path}: {doubt}" for doubt in first.doubts])


def _opened(source: Unpacked, reading: Reading, folder: Path) -> TextLog:
    file = open_text(source if reading.encoding is None else recoded(source, reading.encoding, folder))
    if are_objects(file):
        _refuse(file.path, "is JSON", "header", reading.header)
        _refuse(file.path, "is JSON", "quote", reading.quote)
        return JsonLog(file, reading)
    file.check_lines()
    refuse_values(file)
    if are_user_lines(file, reading):
        _refuse(file.path, "has one user per line", "quote", reading.quote)
        _refuse(file.path, "has one user per line", "where", reading.where)
        return UserLines(file, reading.columns or Columns(), reading.header)
    return DelimitedLog(file, reading)


def _refuse(path: Path, what: str, option: str, value: object) -> None:
    if value is not None:
        raise DataError(f"{path}: {what}, so --{option} cannot be used")


def _places(logs: Sequence[TextLog], starts: Sequence[int]) -> Callable[[int], str]:
    """A function that tells where a row of the table comes from: file and line."""

    def place(row: int) -> str:
        number = bisect_right(starts, row) - 1
        return f"{logs[number].path}:{logs[number].line_of(row - starts[number])}"

    return place


def _list_places(
    connection: duckdb.DuckDBPyConnection, row_place: Callable[[int], str]
) -> Callable[[int], str]:
    """A function that tells where a row with one item of a list comes from: the place of the list."""

    def place(row: int) -> str:
        [(source,)] = connection.execute(f"SELECT source_row FROM log WHERE rowid = {row}").fetchall()  # noqa: S608 - ours
        return row_place(source)

    return place


def _columns(log: TextLog) -> Columns | None:
    """The columns of a log, by which the next file is read too; None if they have no names."""
    if not log.names:
        return None
    found = log.columns.get
    return Columns(
        user=found("user"),
        item=found("item"),
        time=found("time"),
        sequence=found("sequence"),
        file_order=log.file_order,
        history=found("history"),
        label=found("label"),
    )


def _shown(log: TextLog) -> dict[str, str]:
    """Names of columns by role, for display; fields in lists are prefixed with the name of the list."""
    history = log.columns.get("history")
    if history is None:
        return log.columns
    followed = f", then {log.columns['item']}" if "item" in log.columns else ""
    inner = {role: f"{history}: {field}" for role, field in log.inner.items()}
    return {"user": log.columns["user"], "item": history + followed} | inner


def _check_alike(first: TextLog, log: TextLog) -> None:
    """Check that two files of a log have the same columns; named columns may be in any order."""
    if sorted(log.names) == sorted(first.names) and log.columns == first.columns:
        return
    missing = [name for name in first.names if name not in log.names]
    more = [name for name in log.names if name not in first.names]
    what = (
        f"has no column {quoted(missing[0])}" if missing else f"has a column {quoted((more or log.names)[0])}"
    )
    raise DataError(f"{log.path}: {what}, unlike {first.path}; the files of a log need the same columns")


def _load_all(
    connection: duckdb.DuckDBPyConnection, logs: Sequence[TextLog], folder: Path
) -> tuple[list[int], list[str]]:
    """Create the table ``log`` from all files, in order; return the first row of each file, and the columns' roles."""
    starts, roles = [0], list[str]()
    for number, log in enumerate(logs):
        here = log.load(connection, folder)
        roles = roles or here
        if len(logs) == 1:
            break
        if not number:
            connection.execute("ALTER TABLE log RENAME TO whole")
        else:
            shared = ", ".join(sql_name(role) for role in roles if role in here)  # watched columns may differ
            connection.execute(f"INSERT INTO whole BY NAME SELECT {shared} FROM log")  # noqa: S608 - quoted
            connection.execute("DROP TABLE log")
        [(rows,)] = connection.execute("SELECT count(*) FROM whole").fetchall()
        starts.append(rows)
    if len(logs) > 1:
        connection.execute("ALTER TABLE whole RENAME TO log")
        starts.pop()
    return starts, roles


def _first_row(connection: duckdb.DuckDBPyConnection) -> dict[str, object]:
    """The first row of the table ``log``, by role; empty if there is none."""
    rows = connection.execute("SELECT * FROM log LIMIT 1")
    names = [str(column[0]) for column in rows.description or []]
    return dict(zip(names, rows.fetchone() or (), strict=False))
