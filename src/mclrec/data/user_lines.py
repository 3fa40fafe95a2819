"""Text logs with one user per line: ``user item item ...``, items in the order of time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa

from mclrec.data.column_values import Doubt, is_time
from mclrec.data.columns import Columns, has_known_name
from mclrec.data.dialects import separator
from mclrec.data.intake import WatchedKind
from mclrec.data.origin import Reading
from mclrec.data.places import suffix_of
from mclrec.data.text_files import TextFile
from mclrec.data.text_records import BLANKS
from mclrec.data.text_tables import csv_options, fill, read_by_duckdb
from mclrec.errors import DataError

__all__ = ["UserLines", "are_user_lines", "refuse_values"]

_BLANKS = re.compile("[ \t]+")
_FORM = "a line is 'user item item ...'; for rows of columns, use --user-column, --item-column or --header"
_COLON = re.compile(r"[^\s:,;|]+:[ \t]*[^\s:,;|]+([ \t]+[^\s:,;|]+)*[ \t]*")
_PAIR = 2  # words
_WORD = re.compile(r"[^\s:,;|]+")
_VALUE = re.compile(r"\d+:[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def are_user_lines(file: TextFile, reading: Reading) -> bool:
    """Whether lines are users with their items, and not rows of columns.

    They are if all have the form ``user:item item ...``. Otherwise, blanks or tabs must separate the words (tabs in
    equal number in every line only in a ``.txt`` file), and the first line must hold no known column name. Then lines
    of different widths are users with their items. So are lines of equal width if neither columns nor a header were
    asked for, lines have more than two words, no two begin with the same word, and no column holds times.
    """
    lines = [line for part in file.samples for line in part]
    lines = lines or [next((line for _, line in file.lines() if line.strip()), "")]
    if all(map(_COLON.fullmatch, lines)):
        return True
    sign, share = separator(lines)
    if sign not in (BLANKS, "\t") or (sign == "\t" and share == 1 and suffix_of(file.path) != ".txt"):
        return False
    rows = [[_bare(word) for word in _BLANKS.split(line.strip(" \t"))] for line in lines]
    widths = {len(row) for row in rows}
    if widths == {1} or has_known_name(rows[0]):
        return False
    if len(widths) > 1:
        return sign == BLANKS or share < 1
    if reading.header or _names_columns(reading.columns or Columns()):
        return False
    users = [row[0] for row in rows]
    if widths == {2} or len(set(users)) < len(users):
        return False
    return not any(all(map(is_time, column)) for column in zip(*rows, strict=True))


def refuse_values(file: TextFile) -> None:
    """Refuse the LIBSVM format ``user item:value item:value ...``, as ``item:value`` is not an item.

    Raises:
        DataError: in the sampled lines, all words after the first have the form ``item:value``.
    """
    rows = [_BLANKS.split(line.strip(" \t")) for part in file.samples for line in part]
    words = [word for row in rows for word in row[1:]]
    if words and all(_WORD.fullmatch(row[0]) for row in rows) and all(map(_VALUE.fullmatch, words)):
        raise DataError(
            f"{file.path}: lines look like LIBSVM's 'user item:value item:value ...' ({words[0]}), which has no "
            "order; write only the items, in order of time ('user item item ...'), or rows with user, item and time"
        )


def _bare(word: str) -> str:
    """A word without enclosing double quotes."""
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] == '"' else word


def _is_pair(words: list[str]) -> bool:
    return len(words) == _PAIR


def _names_columns(columns: Columns) -> bool:
    return replace(columns, file_order=False, numbered=False) != Columns()


class UserLines:
    """A log with one user per line.

    Args:
        file: the text.
        columns: the columns that were asked for; such a file has none.
        header: whether a header was asked for; likewise.

    Raises:
        DataError: columns or a header were asked for.
    """

    file_order = False  # the column ``sequence`` has the item's place in the line

    def __init__(self, file: TextFile, columns: Columns, header: bool | None) -> None:
        self.path = file.path
        self._file = file
        self._colon = ":" in next((line for _, line in file.lines() if line.strip()), "")
        self._colon = self._colon and all(_COLON.fullmatch(line) for part in file.samples for line in part)
        words = [line.replace(":", " ", 1).split() for part in file.samples for line in part]
        self._pairs = self._colon and all(map(_is_pair, words))
        self.format = f"one user a line{', a colon behind it' if self._colon else ''}{file.packing}"
        self.names: list[str] = []
        self.doubts: list[Doubt] = []
        self.inner: dict[str, str] = {}
        self.wanted: dict[str, str] = {}
        self.watched: dict[str, WatchedKind] = {}
        self.day: str | None = None
        self.columns = {"user": "first word", "item": "words after it, in order"}
        if _names_columns(columns) or header:
            raise DataError(
                f"{self.path}: is read as one user a line ('user item item ...'), which has no columns and no header"
            )

    def load(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
        """Create the table ``log``; see `mclrec.data.text_tables.TextLog`."""
        if self._pairs or self._file.ending is None or not self._read(connection, folder):
            kinds = {"user": pa.large_string(), "item": pa.large_string(), "sequence": pa.int64()}
            fill(connection, kinds, self._rows(), str(self.path))
        return ["user", "item", "sequence"]

    def line_of(self, row: int) -> int:
        """Number of the line that a row comes from."""
        rows = 0
        for number, parts in self._lines():
            rows += len(parts) - 1
            if row < rows:
                return number
        raise IndexError(row)

    def _read(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> bool:
        if not read_by_duckdb(connection, self._file, folder, self._query):
            return False
        connection.execute("ALTER TABLE log RENAME TO lines")
        users = "FROM lines WHERE len(parts) > 0"
        [(short, twice)] = connection.execute(
            f"SELECT count(*) FILTER (len(parts) = 1), count(*) - count(DISTINCT parts[1]) {users}"
        ).fetchall()
        if short or twice:
            return False  # reading in Python will find the line
        connection.execute(
            'CREATE TABLE log AS SELECT parts[1] AS "user", unnest(parts[2:]) AS item, '
            f"unnest(range(1, len(parts))) AS sequence {users}"
        )
        connection.execute("DROP TABLE lines")
        return True

    def _query(self, file: str) -> str:
        line = "regexp_replace(line, ':', ' ')" if self._colon else "line"
        return (
            f"SELECT string_split_regex(nullif(trim({line}, E' \\t\\r'), ''), '[ \\t]+') AS parts "  # noqa: S608 - the path is quoted
            f"FROM read_csv({file}, columns = {{'line': 'VARCHAR'}}, header = false, delim = '\x01', quote = '', "
            f"escape = '', {csv_options(self._file)})"
        )

    def _rows(self) -> Iterator[tuple[str, str, int]]:
        users: set[str] = set()
        for number, (user, *items) in self._lines():
            if not items:
                raise DataError(f"{self.path}:{number}: line has a user but no item; {_FORM}")
            if self._pairs and len(items) == 1:
                yield user, items[0], number
                continue
            if user in users:
                raise DataError(f"{self.path}:{number}: line has a user that already has a line; {_FORM}")
            users.add(user)
            yield from ((user, item, place) for place, item in enumerate(items, start=1))

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        for number, text in self._file.lines():
            line = text.strip(" \t\r")
            if "\r" in line:
                raise DataError(f"{self.path}:{number}: line contains a CR; end all lines with LF")
            if self._colon:
                line = line.replace(":", " ", 1)
            if line:
                yield number, _BLANKS.split(line)
