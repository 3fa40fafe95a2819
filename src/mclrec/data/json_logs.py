"""JSON logs: one object per line, or one array of objects; read by DuckDB or, if it refuses, object by object."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from mclrec.data.column_values import Doubt
from mclrec.data.columns import Columns, Roles, has_item
from mclrec.data.conditions import condition_roles, is_condition_role
from mclrec.data.origin import Reading
from mclrec.data.places import JSON, suffix_of
from mclrec.data.text_files import TextFile
from mclrec.data.text_tables import compression, fill, read_by_duckdb, sql_name, sql_text
from mclrec.data.watched_columns import is_watched_role, watched_columns, watched_roles
from mclrec.errors import DataError, quoted
from mclrec.json_files import parse_json

__all__ = ["JsonLog", "are_objects", "json_id"]

_LONGEST_OBJECT = 1 << 24  # characters of an object in an array
_IDS = ("user", "item")
_EXACT = 2**53
_LOOKED_AT = 1000  # objects whose keys are the columns that a condition can name
_DOUBTFUL = (
    r"-?[0-9]*\.[0-9]+([eE].*)?|-?[0-9]+[eE].*|-?[0-9]{19,}|(?i:-?nan|-?inf.*)|true|false|[\[{](?s:.*)"
)
_LITERAL = re.compile(r"\s*\{\s*u?'")
_DECODER = json.JSONDecoder()
_BLANKS = re.compile(r"[ \t\r\n]*")


def are_objects(file: TextFile) -> bool:
    """Whether a file contains JSON objects or Python dicts, according to its suffix or its first characters."""
    if suffix_of(file.path) in JSON:
        return True
    first = next((line for part in file.samples for line in part), "")
    return first.lstrip().startswith(('{"', "{'", "{u'", '[{"'))


def json_id(value: str, refused: str = "error('refused')") -> str:
    """SQL for a JSON id as text, or ``refused`` for what cannot be an id: lists, objects, booleans and fractions."""
    kind, text = f"json_type({value})", f"({value} ->> '$')"
    return (
        f"CASE WHEN {kind} IN ('ARRAY', 'OBJECT', 'BOOLEAN') THEN {refused} "
        f"WHEN {kind} = 'DOUBLE' AND regexp_full_match({text}, '-?[0-9]{{1,15}}[.]0+') "
        f"THEN split_part({text}, '.', 1) "
        f"WHEN {kind} = 'DOUBLE' AND NOT regexp_full_match({text}, '-?[0-9]+') THEN {refused} ELSE {text} END"
    )


def _as_text(value: str, kind: str) -> str:
    """SQL for a value that was read as type ``kind``, as text."""
    return f"({value} ->> '$')" if kind == "JSON" else value


def _first_line(file: TextFile) -> str:
    return next((line for _, line in file.lines() if line.strip()), "")


def _inner(first: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Keys of the first objects in the lists of some columns."""
    values = [first.get(name) for name in names]
    heads = [value[0] for value in values if isinstance(value, list) and value]
    return [str(key) for head in heads if isinstance(head, dict) for key in head]


def _is_array(file: TextFile) -> bool:
    """Whether the file is one array, possibly on one line, rather than one object per line."""
    for piece in file.pieces():
        if start := piece.lstrip():
            return start.startswith("[")
    raise DataError(f"{file.path}: is empty")


class JsonLog:
    """A log of JSON objects, whose columns are the keys of the first object.

    Args:
        file: the text.
        reading: the options for reading it.

    Raises:
        DataError: it is not JSON, a row is not an object, or a key is missing.
    """

    def __init__(self, file: TextFile, reading: Reading) -> None:
        self.path = file.path
        self._file = file
        self._array = _is_array(file)
        if not self._array:
            file.check_lines()
        self._literal = not self._array and _LITERAL.match(_first_line(file)) is not None
        _, first = next(self._objects(), (0, None))
        if first is None:
            raise DataError(f"{self.path}: is empty")
        roles = self._resolved(reading.columns or Columns(), first)
        self.file_order = roles.file_order
        self.format = f"{'array of JSON objects' if self._array else 'JSON lines'}{file.packing}"
        self.columns, self.day = roles.named, roles.day
        self.names = list(roles.named.values())
        some = [row for _, row in islice(self._objects(), _LOOKED_AT)]
        keys = list(dict.fromkeys(key for row in some for key in row))
        self.wanted = condition_roles(reading.where, keys, str(self.path))
        self.watched = watched_columns(
            keys if roles.history is None else [],
            (roles.named | self.wanted).values(),
            lambda name: [row.get(name) for row in some],
        )
        self._named = roles.named | self.wanted | watched_roles(self.watched)
        self.inner = dict(roles.inner)
        self.doubts: list[Doubt] = []

    def _resolved(self, columns: Columns, first: dict[str, Any]) -> Roles:
        """The columns by role; the only list is the history if no other column can be the item."""
        names = list(first)
        lists = [name for name, value in first.items() if isinstance(value, list)]
        flat = [name for name in names if name not in lists]
        outside = columns.item in names if columns.item is not None else has_item(flat)
        if columns.history is None and len(lists) == 1 and not outside:
            columns = replace(columns, history=lists[0])
        inside = [] if columns.history is None else _inner(first, [columns.history])
        return columns.resolve(names, str(self.path), inside)

    def load(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
        """Create the table ``log``; see `mclrec.data.text_tables.TextLog`."""
        if not self._read(connection, folder):
            kinds = dict.fromkeys(self._named, pa.large_string())
            fill(connection, kinds, self._values(), str(self.path))
        return list(self._named)

    def _read(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> bool:
        """Have DuckDB read values as text, or ids as JSON if some of them may be neither text nor integers."""
        if self._literal or not read_by_duckdb(
            connection, self._file, folder, self._query("VARCHAR", lambda value: value)
        ):
            return False
        ids = [sql_name(role) for role in _IDS if role in self._named]
        doubts = " OR ".join(f"regexp_full_match({name}, {sql_text(_DOUBTFUL)})" for name in ids)
        [(doubtful,)] = connection.execute(f"SELECT count(*) FROM log WHERE {doubts}").fetchall()  # noqa: S608 - ours
        if not doubtful:
            return True
        connection.execute("DROP TABLE log")
        query = self._query("JSON", json_id)
        return read_by_duckdb(connection, self._file, folder, query)

    def line_of(self, row: int) -> int:
        """The number of the line in which an object begins."""
        return next(line for number, (line, _) in enumerate(self._objects()) if number == row)

    def _query(self, kind: str, value: Callable[[str], str]) -> Callable[[str], str]:
        """The query that reads ids as type ``kind`` and converts them by ``value``; other values are read as text."""
        ids = {column for role, column in self._named.items() if role in _IDS}
        kinds = {column: kind if column in ids else "VARCHAR" for column in self._named.values()}
        read = ", ".join(f"{sql_text(column)}: '{kind}'" for column, kind in kinds.items())
        values = {
            role: value(sql_name(column)) if role in _IDS else _as_text(sql_name(column), kinds[column])
            for role, column in self._named.items()
        }
        wanted = ", ".join(f"nullif({text}, '') AS {sql_name(role)}" for role, text in values.items())
        form = "array" if self._array else "newline_delimited"
        longest = max(2 * _LONGEST_OBJECT if self._array else 2 * self._file.longest, 1 << 24)
        options = f"{compression(self._file)}, maximum_object_size = {longest}, hive_partitioning = false"
        return lambda file: (
            f"SELECT {wanted} FROM read_json({file}, format = '{form}', columns = {{{read}}}, {options})"  # noqa: S608 - the path is quoted, the rest is ours
        )

    def _values(self) -> Iterator[list[str | None]]:
        for line, row in self._objects():
            yield [self._text(line, role, row.get(column)) for role, column in self._named.items()]

    def _text(self, line: int, role: str, value: Any) -> str | None:
        if value is None or value == "":
            return None
        if role == "label" or is_condition_role(role) or is_watched_role(role):
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if role == "history":
            return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)
        if role in _IDS and isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
            return str(int(value))
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(value, str) or (
            number and (role == "time" or role == "sequence" or isinstance(value, int))
        ):
            return str(value)
        raise DataError(
            f"{self.path}:{line}: {role} {quoted(value)} is {_kind(value)}; "
            + ("ids are integers or strings" if role in _IDS else "only numbers and text are read")
        )

    # ---------------------------------------------------------------------------- in Python

    def _objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The objects with the numbers of the lines in which they begin."""
        for line, value in self._elements() if self._array else self._lines():
            if not isinstance(value, dict):
                what = f"{quoted(value)} in the array" if self._array else "line"
                raise DataError(f"{self.path}:{line}: {what} is not a JSON object; each row has to be one")
            yield line, value

    def _lines(self) -> Iterator[tuple[int, Any]]:
        for number, line in self._file.lines():
            if line.strip(" \t\r"):
                yield number, self._parsed(line, number)

    def _parsed(self, text: str, line: int) -> Any:
        if self._literal:
            return self._evaluated(text, line)
        try:
            return parse_json(text, "line")
        except DataError as problem:
            what = str(problem).partition("not valid JSON: ")[2]
            raise DataError(f"{self.path}:{line}: line is not JSON: {what}") from None

    def _evaluated(self, text: str, line: int) -> Any:
        """Parse a line that Python wrote, such as ``{'user': 'a'}``: only literals, nothing is executed."""
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as problem:
            what = getattr(problem, "msg", None) or "contains more than literals"
            raise DataError(f"{self.path}:{line}: line is not a Python dict: {what}") from None

    def _elements(self) -> Iterator[tuple[int, Any]]:
        """The elements of the array, with only one at a time in memory."""
        text = _Window(self.path, self._file.pieces())
        text.take("[")
        if text.sign() != "]":
            while True:
                start = text.line
                yield start, self._parsed(text.element(), start)
                if text.sign() == "]":
                    break
                text.take(",")
        text.take("]")
        if text.sign():
            raise text.error("has text after the array")


class _Window:
    """A sliding window over a text that is read in pieces."""

    def __init__(self, path: Path, pieces: Iterator[str]) -> None:
        self.path = path
        self.line = 1
        self._pieces = pieces
        self._text = ""
        self._place = 0

    def sign(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            match = _BLANKS.match(self._text, self._place)
            end = match.end() if match else self._place
            self._advance_to(end)
            if end < len(self._text) or not self._read_more():
                return self._text[end : end + 1]

    def take(self, sign: str) -> None:
        """Skip a character, which has to come next."""
        if self.sign() != sign:
            raise self.error(f"is not a JSON array: {sign} is missing")
        self._advance_to(self._place + 1)

    def element(self) -> str:
        """The text of the next value."""
        self.sign()
        while True:
            end = self._end()
            if end is not None:
                text = self._text[self._place : end]
                self._advance_to(end)
                return text
            if len(self._text) - self._place > _LONGEST_OBJECT:
                raise self.error(
                    f"holds an object of more than {_LONGEST_OBJECT >> 20} MB, or one that is not closed"
                )
            if not self._read_more():
                raise self.error("line is not JSON: the array is not closed")

    def _end(self) -> int | None:
        """Index at which the next value ends; None if that is beyond the window."""
        try:
            end = _DECODER.raw_decode(self._text, self._place)[1]
        except json.JSONDecodeError as problem:
            rest = len(self._text) - problem.pos
            if rest > 20 and "Unterminated" not in problem.msg:
                raise self.error(f"line is not JSON: {problem.msg}", problem.pos) from None
            return None
        except RecursionError:
            raise self.error("line is not JSON: nested too deeply") from None
        except ValueError as problem:
            raise self.error(f"line is not JSON: {str(problem).partition(';')[0]}") from None
        return end if end < len(self._text) else None  # a number may continue

    def error(self, what: str, place: int | None = None) -> DataError:
        """An error with the number of the line."""
        line = self.line if place is None else self.line + self._text.count("\n", self._place, place)
        return DataError(f"{self.path}:{line}: {what}")

    def _advance_to(self, place: int) -> None:
        self.line += self._text.count("\n", self._place, place)
        self._place = place

    def _read_more(self) -> bool:
        piece = next((piece for piece in self._pieces if piece), "")
        if piece:
            self._text, self._place = self._text[self._place :] + piece, 0
        return bool(piece)


def _kind(value: Any) -> str:
    names = {bool: "true or false", float: "a number with a fraction", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
