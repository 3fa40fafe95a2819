"""Rows of a log that satisfy a condition: of a table of text in DuckDB, or of Arrow arrays, batch by batch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mclrec.data.column_types import is_text, plain
from mclrec.data.condition_sql import Check, Test, Value, compiled
from mclrec.data.condition_words import Kind
from mclrec.data.conditions import is_condition_role, parsed
from mclrec.data.intake import Counts, Found, Step, shortened
from mclrec.data.packed import IntArray
from mclrec.data.raw_tables import RawTable, Selection
from mclrec.data.text_tables import sql_name
from mclrec.errors import DataError, quoted
from mclrec.wording import count_of, in_quotes

__all__ = ["WantedRows", "after_condition", "keep_wanted"]


def keep_wanted(
    connection: duckdb.DuckDBPyConnection,
    where: str,
    wanted: Mapping[str, str],
    roles: Sequence[str],
    place: str,
    row_place: Callable[[int], str],
) -> tuple[Step, int, Callable[[int], str]]:
    """Keep only the rows of the text table ``log`` that satisfy a condition, and drop the condition's own columns.

    Args:
        connection: database with the table.
        where: the condition.
        wanted: columns of the log that the condition needs, by their roles in the table.
        roles: columns of the table, including those of the condition.
        place: the log, for messages.
        row_place: tells where a row of the table comes from, for messages.

    Returns:
        The rule with the number of rows it left, the number of rows before, and a function that tells where a kept row
        comes from.

    Raises:
        DataError: the condition cannot be evaluated, or no row satisfies it.
    """
    condition = parsed(where)
    by_column = {column: _column(role, "text", column) for role, column in wanted.items()}
    words = condition.columns(list(by_column), place)
    columns = {word: by_column[column] for word, column in words.items()}
    test = compiled(condition, columns, place)
    kept = ", ".join(sql_name(role) for role in roles if not is_condition_role(role))
    try:
        for check in test.checks.values():
            query = f"SELECT min(rowid) FROM log WHERE {check.bad}"  # noqa: S608 - ours
            [(row,)] = connection.execute(query).fetchall()
            if row is not None:
                query = f"SELECT {check.value} FROM log WHERE rowid = {row}"  # noqa: S608 - ours
                [(value,)] = connection.execute(query).fetchall()
                raise _unfit(row_place(row), check, value)
        connection.execute(
            f"CREATE TABLE wanted AS SELECT {kept}, rowid AS source FROM log WHERE {test.sql} ORDER BY rowid"  # noqa: S608 - ours
        )
    except duckdb.Error as problem:
        raise _condition_error(place, problem) from None
    [(read,), (left,)] = connection.execute(
        "SELECT count(*) FROM log UNION ALL SELECT count(*) FROM wanted"
    ).fetchall()
    _check_left(place, where, read, left)
    connection.execute("CREATE TABLE sources AS SELECT source FROM wanted ORDER BY rowid")
    connection.execute("DROP TABLE log")
    connection.execute("ALTER TABLE wanted DROP COLUMN source")
    connection.execute("ALTER TABLE wanted RENAME TO log")

    def source(row: int) -> str:
        [(found,)] = connection.execute(f"SELECT source FROM sources WHERE rowid = {row}").fetchall()  # noqa: S608 - ours
        return row_place(found)

    return _step(where, left), read, source


class WantedRows:
    """A raw table filtered by a condition.

    Args:
        raw: the table.
        where: the condition.
    """

    def __init__(self, raw: RawTable, where: str) -> None:
        self._raw, self._where = raw, where
        self._condition = parsed(where)
        self.place, self.format, self.engine = raw.place, raw.format, raw.engine
        self.names, self.in_order = raw.names, raw.in_order
        self._roles = self._condition.roles(raw.names, raw.place)
        self._kept: list[IntArray] = []
        self._starts = [0]
        self._read = 0

    def read(self, wanted: Sequence[int]) -> Selection:
        """Select columns by position."""
        tested = [self.names.index(column) for column in self._roles.values()]
        both = list(dict.fromkeys([*wanted, *tested]))
        found = self._raw.read(both)
        shown, used = ([both.index(place) for place in places] for places in (wanted, tested))
        types = [(part, [kinds[number] for number in shown]) for part, kinds in found.types]
        return Selection(types, self._batches(found.batches, shown, used))

    def can_watch(self, place: int) -> bool:
        """Whether the values of a column can be counted."""
        return self._raw.can_watch(place)

    def row_place(self, row: int) -> str:
        """Where a kept row comes from, for messages."""
        number = bisect_right(self._starts, row) - 1
        return self._raw.row_place(int(self._kept[number][row - self._starts[number]]))

    def add_to(self, found: Found) -> Found:
        """Add the condition to what was found in the kept rows."""
        return after_condition(found, _step(self._where, self._starts[-1]), self._read)

    def _batches(
        self, batches: Iterator[list[pa.Array]], shown: list[int], used: list[int]
    ) -> Iterator[list[pa.Array]]:
        # This database holds only the columns of the condition, and has no access to anything else.
        with duckdb.connect(config={"enable_external_access": "false", "threads": "1"}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for arrays in batches:
                mask = self._mask(connection, [plain(arrays[number]) for number in used])
                numbers = np.flatnonzero(mask)
                self._kept.append(numbers + self._read)
                self._starts.append(self._starts[-1] + len(numbers))
                self._read += len(mask)
                kept = pa.array(mask)
                yield [arrays[number].filter(kept) for number in shown]
        _check_left(self.place, self._where, self._read, self._starts[-1])

    def _mask(self, connection: duckdb.DuckDBPyConnection, arrays: list[pa.Array]) -> np.ndarray:
        test = self._test([array.type for array in arrays])
        checks = list(test.checks.values())
        wanted = ", ".join([f"coalesce({test.sql}, false)", *(check.bad for check in checks)])
        rows = pa.table(dict(zip(self._roles, arrays, strict=True)))
        try:
            connection.register("rows", rows)
            names = ", ".join(f"c{number}" for number in range(len(checks) + 1))
            query = f"SELECT * FROM (SELECT {wanted} FROM rows) AS t({names})"  # noqa: S608 - ours
            found = connection.execute(query).to_arrow_table()
            for check, bad in zip(checks, found.columns[1:], strict=True):
                if (row := pc.index(bad, True).as_py()) >= 0:
                    connection.register("one", rows.slice(row, 1))
                    [(value,)] = connection.execute(f"SELECT {check.value} FROM one").fetchall()  # noqa: S608 - ours
                    raise _unfit(self._raw.row_place(self._read + row), check, value)
        except duckdb.Error as problem:
            raise _condition_error(self.place, problem) from None
        mask: np.ndarray = found.column(0).to_numpy()
        return mask

    def _test(self, kinds: list[pa.DataType]) -> Test:
        roles = {
            column: _column(role, self._kind(column, kind), column, floating=pa.types.is_floating(kind))
            for (role, column), kind in zip(self._roles.items(), kinds, strict=True)
        }
        words = self._condition.columns(self.names, self.place)
        columns = {word: roles[column] for word, column in words.items()}
        return compiled(self._condition, columns, self.place)

    def _kind(self, column: str, kind: pa.DataType) -> Kind:
        types = pa.types
        if is_text(kind):
            return "text"
        if types.is_null(kind):
            return "null"
        if types.is_integer(kind):
            return "integer"
        if types.is_floating(kind) or types.is_decimal(kind):
            return "number"
        if types.is_boolean(kind):
            return "boolean"
        if types.is_date(kind) or types.is_timestamp(kind):
            return "time"
        raise DataError(
            f"{self.place}: --where: column {quoted(column)} holds {kind}; only text, numbers, times and booleans "
            "can be compared"
        )


def after_condition(found: Found, step: Step, read: int) -> Found:
    """Add a condition, as the first rule, to what was found in the rows that it left."""
    return replace(found, read=read, steps=(step, *found.steps))


def _column(role: str, kind: Kind, column: str, *, floating: bool = False) -> Value:
    """A column of the log as SQL; empty text and NaN become NULL, and times are in UTC."""
    sql = sql_name(role)
    if kind == "text":
        sql = f"nullif({sql}, '')"
    elif floating:
        sql = f"(CASE WHEN NOT isnan({sql}) THEN {sql} END)"
    elif kind == "time":
        sql = f"CAST({sql} AS TIMESTAMP)"
    return Value(sql, kind, column)


def _step(where: str, left: int) -> Step:
    counts = Counts(users=None, items=None, rows=left)
    return Step(rule="where", option=f"--where {in_quotes(shortened(where))}", left=counts)


def _check_left(place: str, where: str, read: int, left: int) -> None:
    if read and not left:
        raise DataError(f"{place}: --where {quoted(where)} is true for none of the {count_of(read, 'row')}")


def _unfit(place: str, check: Check, value: object) -> DataError:
    return DataError(f"{place}: --where: {check.what.replace('{0}', quoted(value), 1)}")


def _condition_error(place: str, problem: duckdb.Error) -> DataError:
    text = str(problem).splitlines()[0].partition(" when casting from source column")[0]
    return DataError(f"{place}: --where: {text}")
