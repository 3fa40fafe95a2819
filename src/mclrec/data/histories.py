"""Unroll histories: a list of items in one field becomes one row per item, with its position as the sequence.

A field is a JSON list of ids or of objects, or ids separated by blanks, commas, semicolons or bars, with or without
brackets. If a user has several rows, either each list begins with the previous one, as snapshots of one history do, and
the longest is taken; or the items have times, which order them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from mclrec.data.json_logs import json_id
from mclrec.data.list_texts import NO_LIST, PLAIN, SIGNS, ListTextError, list_elements, sign_of
from mclrec.data.text_tables import sql_text, store
from mclrec.errors import DataError, quoted

__all__ = ["Unrolled", "settle", "unroll"]

_ROWS = 1 << 14  # lists of a batch
_LIST = pa.list_(pa.large_string())
_PARSED = pa.schema([("place", pa.int64()), ("history", _LIST)])


@dataclass(frozen=True, slots=True)
class Unrolled:
    """The table ``log`` with one row per item.

    Attributes:
        roles: its columns.
        repeated: number of rows of the log whose list is the beginning of another list of the same user.
    """

    roles: list[str]
    repeated: int


def unroll(
    connection: duckdb.DuckDBPyConnection,
    roles: Sequence[str],
    inner: dict[str, str],
    row_place: Callable[[int], str],
) -> Unrolled:
    """Unroll the table ``log`` of text, with a list in its column ``history``, into one row per item.

    Args:
        connection: the database with the table.
        roles: its columns.
        inner: fields of the objects in the lists by role; empty for lists of ids.
        row_place: where a row of the table comes from, for messages.

    Raises:
        DataError: a list contains something other than ids, or rows of one user contradict each other.
    """
    parts = _lists(connection, inner, row_place)
    item = "element"
    found = ["user", "item", *(["time"] if "time" in inner else []), "sequence"]
    if inner:
        item = json_id(f"(element -> {_path(inner['item'])})")
    if "item" in roles:
        parts = f"list_append({parts}, item)"
    time = f", element ->> {_path(inner['time'])} AS time" if "time" in inner else ""
    connection.execute(
        f"CREATE TABLE unrolled AS SELECT \"user\", nullif({item}, '') AS item{time}, sequence, source_row FROM "  # noqa: S608 - ours
        f'(SELECT "user", unnest(parts) AS element, unnest(range(1, len(parts) + 1)) AS sequence, source_row '
        f'FROM (SELECT "user", {parts} AS parts, rowid AS source_row FROM log) ORDER BY source_row)'
    )
    connection.execute("DROP TABLE log")
    connection.execute("ALTER TABLE unrolled RENAME TO log")
    return Unrolled(found, settle(connection, row_place, timed="time" in inner))


def settle(connection: duckdb.DuckDBPyConnection, row_place: Callable[[int], str], *, timed: bool) -> int:
    """Keep the longest of several lists of a user, if it begins with each of the others.

    Args:
        connection: its table ``log`` has user, item, sequence and source_row, which is the row of the list.
        row_place: where such a row comes from, for messages.
        timed: whether the items have times; lists of a user that contradict each other are then all kept.

    Returns:
        Number of rows that were left out because another row contains their list.

    Raises:
        DataError: the lists of a user contradict each other, and their items have no times.
    """
    several = 'SELECT "user" FROM log GROUP BY "user" HAVING min(source_row) != max(source_row)'
    if connection.execute(f"{several} LIMIT 1").fetchone() is None:
        return 0
    values = "count(DISTINCT (item, time))" if timed else "count(DISTINCT item)"
    connection.execute(
        'CREATE TABLE contradicted AS SELECT "user", min(source_row) AS first, max(source_row) AS last FROM log '  # noqa: S608 - ours
        f'GROUP BY "user", sequence HAVING {values} > 1'
    )
    if not timed and (conflict := connection.execute("FROM contradicted LIMIT 1").fetchone()) is not None:
        user, first, last = conflict
        raise DataError(
            f"{row_place(last)}: user {quoted(user)} has a different list in {row_place(first)}; lists of one user "
            "have to continue each other: give one row per user"
        )
    [(left_out,)] = connection.execute(
        'SELECT count(DISTINCT source_row) - count(DISTINCT "user") FROM log ANTI JOIN contradicted USING ("user")'
    ).fetchall()
    connection.execute(
        'CREATE TABLE settled AS SELECT * FROM log QUALIFY "user" IN (SELECT "user" FROM contradicted) OR '
        'row_number() OVER (PARTITION BY "user", sequence ORDER BY source_row) = 1 ORDER BY source_row, sequence'
    )
    connection.execute("DROP TABLE contradicted")
    connection.execute("DROP TABLE log")
    connection.execute("ALTER TABLE settled RENAME TO log")
    return int(left_out)


def _path(field: str) -> str:
    escaped = field.replace("\\", "\\\\").replace('"', '\\"')
    return sql_text(f'$."{escaped}"')


def _lists(
    connection: duckdb.DuckDBPyConnection, inner: dict[str, str], row_place: Callable[[int], str]
) -> str:
    """SQL expression for the list in the column ``history``, of text or of JSON objects."""
    json = "regexp_full_match(history, '(?s)\\s*\\[.*\\]\\s*') AND json_valid(history)"
    [(lists, rows)] = connection.execute(
        f"SELECT count(*) FILTER ({json}), count(*) FILTER (history IS NOT NULL) FROM log"  # noqa: S608 - ours
    ).fetchall()
    if inner or (rows and lists == rows):
        elements = "from_json(history, '[\"JSON\"]')"
        _refuse(connection, inner, elements, row_place, lists == rows)
        return elements if inner else f"list_transform({elements}, lambda x: {json_id('x')})"
    held = ", ".join(f"count(*) FILTER (contains(history, {sql_text(sign)})) > 0" for sign in SIGNS)
    [(odd, *signs)] = connection.execute(
        f"SELECT count(*) FILTER (NOT regexp_full_match(history, {sql_text(PLAIN)})), {held} FROM log"  # noqa: S608 - ours
    ).fetchall()
    sign = sign_of(signs)
    if odd:
        _parse(connection, sign, row_place)
        return "history"
    split = f"string_split(history, {sql_text(sign)})" if sign else "string_split_regex(history, '\\s+')"
    return f"list_filter(list_transform({split}, lambda x: trim(x, E' \\t\\n')), lambda x: x != '')"


def _parse(connection: duckdb.DuckDBPyConnection, sign: str | None, row_place: Callable[[int], str]) -> None:
    """Parse the text in the column ``history``, which has brackets or quotes, into lists."""
    kept = connection.cursor()  # of its own, since the other connection writes while rows are read
    rows = kept.execute("SELECT rowid, history FROM log ORDER BY rowid")

    def batches() -> Iterator[pa.RecordBatch]:
        while some := rows.fetchmany(_ROWS):
            lists = [_elements(row, text, sign, row_place) for row, text in some]
            yield pa.record_batch(
                [pa.array([row for row, _ in some]), pa.array(lists, _LIST)], schema=_PARSED
            )

    store(connection, _PARSED, batches(), "parsed")
    connection.execute(
        "CREATE TABLE listed AS SELECT log.* REPLACE (parsed.history AS history) FROM log JOIN parsed "
        "ON log.rowid = parsed.place ORDER BY log.rowid"
    )
    connection.execute("DROP TABLE log; DROP TABLE parsed; ALTER TABLE listed RENAME TO log")


def _elements(
    row: int, text: str | None, sign: str | None, row_place: Callable[[int], str]
) -> list[str] | None:
    try:
        return None if text is None else list_elements(text, sign)
    except ListTextError as problem:
        raise DataError(f"{row_place(row)}: history {quoted(text)} {problem}") from None


def _refuse(
    connection: duckdb.DuckDBPyConnection,
    inner: dict[str, str],
    elements: str,
    row_place: Callable[[int], str],
    whole: bool,
) -> None:
    """Refuse the first value that is no list, or that contains something other than ids."""
    value = f"(x -> {_path(inner['item'])})" if inner else "x"
    bad = json_id(value, "NULL")
    odd = f"len(list_filter({elements}, lambda x: {bad} IS NULL)) > 0"
    if not whole:
        odd = f"NOT json_valid(history) OR json_type(history) != 'ARRAY' OR {odd}"
    row = connection.execute(
        f"SELECT rowid, history FROM log WHERE history IS NOT NULL AND ({odd}) ORDER BY rowid LIMIT 1"  # noqa: S608 - ours
    ).fetchone()
    if row is not None:
        raise DataError(f"{row_place(row[0])}: history {quoted(row[1])} {NO_LIST}")
