"""Reader of recommendation lists in text: delimited rows, TREC run files, JSON objects, and RecBole's list columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from mclrec.data.delimited import DelimitedLog
from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.json_logs import JsonLog, are_objects
from mclrec.data.origin import Reading
from mclrec.data.readers import temporary_database
from mclrec.data.text_files import TextFile, open_text
from mclrec.data.text_tables import TextLog
from mclrec.data.typed_text import WORDS_FOR_NOTHING
from mclrec.data.unpacking import Unpacked
from mclrec.errors import DataError, quoted
from mclrec.evaluation.recommended_columns import TREC_COLUMNS, ListColumns

__all__ = ["TextRows", "number_values", "read_text"]

_TREC_WIDTH = 6
_TREC_SECOND = {"Q0", "q0", "0", "1"}
_FLOAT_IDS = r"^(0|-?[1-9]\d{0,14})\.0$"
_WHOLE = r"^\s*[+-]?\d{1,18}\s*$"
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$|^\s*[+-]?(?i:inf|infinity)\s*$"


class TextRows(NamedTuple):
    """Rows of a file.

    Attributes:
        users: (R,) outside ids as text.
        items: (R,) outside ids as text, or lists of them.
        order: (R,) rank or score as text; None if the rows are in order.
        columns: columns that were used, by role.
        row_place: gives the file and line of a row, for messages.
    """

    users: pa.Array
    items: pa.Array
    order: pa.Array | None
    columns: dict[str, str]
    row_place: Callable[[int], str]


def read_text(file: Unpacked, columns: ListColumns) -> TextRows:
    """Read a text file.

    Raises:
        DataError: empty or malformed file, unknown column, a row without a user or item, or an invalid list of items.
    """
    text = open_text(file)
    log = _opened(text, columns)
    with ExitStack() as stack:
        connection, folder = temporary_database(stack)
        with foreign_errors(str(file.path), "cannot be read"):
            log.load(connection, folder)
            table = connection.sql("SELECT * FROM log").to_arrow_table()
    found = {name: _text(table[name]) for name in table.column_names}

    def row_place(row: int) -> str:
        return f"{log.path}:{log.line_of(row)}"

    if not len(table):
        raise DataError(f"{file.path}: has no rows")
    items = _lists(found["history"], log, row_place) if "history" in found else _ids(found["item"])
    for role in ("user", "item"):
        if role in found:
            _refuse_missing(role, found[role], row_place)
    return TextRows(_ids(found["user"]), items, found.get("sequence"), _columns(log), row_place)


def _opened(text: TextFile, columns: ListColumns) -> TextLog:
    if are_objects(text):
        return JsonLog(text, Reading(columns=columns.for_reader()))
    text.check_lines()
    if columns == ListColumns() and _is_run_file(text):
        return DelimitedLog(text, Reading(columns=TREC_COLUMNS.for_reader(), header=False))
    return DelimitedLog(text, Reading(columns=columns.for_reader()))


def _is_run_file(text: TextFile) -> bool:
    """Whether the lines are those of a TREC run: query, Q0, document, rank, score, tag."""
    lines = [line for part in text.samples for line in part]
    tabs = all("\t" in line for line in lines)  # then ids may contain blanks
    rows = [line.split("\t" if tabs else None) for line in lines]
    if not rows or any(len(row) != _TREC_WIDTH for row in rows):
        return False
    same = all({row[place] for row in rows} == {rows[0][place]} for place in (1, 5))
    return same and rows[0][1] in _TREC_SECOND and all(row[3].isdigit() for row in rows)


def _columns(log: TextLog) -> dict[str, str]:
    names = {"history": "item", "sequence": "order"}
    return {names.get(role, role): column for role, column in log.columns.items()}


def _text(column: pa.ChunkedArray) -> pa.Array:
    values = column.cast(pa.large_string()).combine_chunks()
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _missing_mask(values: pa.Array) -> pa.Array:
    """Mask of values that are null, or a word for a missing value such as NA."""
    return pc.or_kleene(
        pc.is_null(values), pc.is_in(values, value_set=pa.array(WORDS_FOR_NOTHING, pa.large_string()))
    )


def _refuse_missing(role: str, values: pa.Array, row_place: Callable[[int], str]) -> None:
    row = pc.index(_missing_mask(values), True).as_py()
    if row >= 0:
        raise DataError(f"{row_place(row)}: has no {role}; fix the file or leave the row out")


def _ids(values: pa.Array) -> pa.Array:
    """Normalise a column of integer ids that were written as floats, such as 5.0 for 5; others are unchanged."""
    if pc.all(pc.match_substring_regex(values, _FLOAT_IDS)).as_py():
        return pc.replace_substring_regex(values, r"\.0$", "")
    return values


def number_values(role: str, values: pa.Array, row_place: Callable[[int], str]) -> pa.Array:
    """Parse numbers in text, as int64 if all are integers, else as float64; null for a missing value.

    Raises:
        DataError: a value is not a number.
    """
    nothing = _missing_mask(values)
    present = pc.if_else(nothing, pa.scalar(None, pa.large_string()), values)
    bad = pc.index(pc.fill_null(pc.match_substring_regex(present, _NUMBER), True), False).as_py()
    if bad >= 0:
        raise DataError(f"{row_place(bad)}: {role} {quoted(values[bad].as_py())} is not a number")
    digits = pc.replace_substring_regex(pc.utf8_trim_whitespace(present), r"^\+", "")
    whole = pc.all(pc.match_substring_regex(present, _WHOLE)).as_py()
    return digits.cast(pa.int64() if whole else pa.float64())


def _lists(values: pa.Array, log: TextLog, row_place: Callable[[int], str]) -> pa.Array:
    """Parse lists of ids, which are JSON lists or separated by whitespace."""
    if not isinstance(log, JsonLog):
        return pc.utf8_split_whitespace(pc.utf8_trim_whitespace(values)).cast(
            pa.large_list(pa.large_string())
        )
    rows = [list(_elements(text, row, row_place)) for row, text in enumerate(values.to_pylist())]
    return pa.array(rows, pa.large_list(pa.large_string()))


def _elements(text: str | None, row: int, row_place: Callable[[int], str]) -> Iterator[str]:
    """Yield the ids in a JSON list.

    Raises:
        DataError: the text is not a list, or an element is not an id.
    """
    try:
        found: Any = [] if text is None else json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise DataError(f"{row_place(row)}: {quoted(text)} is not a list of items")
    for value in found:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise DataError(
                f"{row_place(row)}: {quoted(value)} in the list is not an id: ids are strings or integers"
            )
        yield str(value)
