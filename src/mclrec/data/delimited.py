"""Delimited text: separator, header and columns; read by DuckDB where it is plain, and in Python where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa

from mclrec.data.columns import Columns, has_known_name
from mclrec.data.places import suffix_of
from mclrec.data.quoting import MalformedError, split_quoted
from mclrec.data.text_files import LONGEST_LINE, TextFile
from mclrec.data.text_tables import csv_options, fill, read_by_duckdb, sql_name, sql_text
from mclrec.errors import DataError

__all__ = ["DelimitedLog"]

_POSITIONS = {
    2: ("1", "2", None),
    3: ("1", "2", "3"),
}  # headerless user, item[, time]; with more, time is 4th
_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", "::": "'::'"}
_MOST_ATTEMPTS = 1000  # at the end of a quoted field
_UNCLOSED = "opens a quote that is not closed"


def _separator(line: str) -> str:
    """The separator that occurs most often in a line, quotes left out; ``::`` wins, as it is never accidental."""
    signs = (",", "\t", ";", "|")
    bare = re.sub(r'(^|[,;|\t]) *"[^"]*("|$)', r"\1", line)
    if not any(sign in bare for sign in ("::", *signs)):
        bare = line  # a quote that is text
    return "::" if "::" in bare else max(signs, key=bare.count)


class DelimitedLog:
    """A log in delimited text.

    Args:
        file: the text.
        delimiter: between fields; a tab, if the type of the file says so, else guessed from the first line.
        columns: as `mclrec.data.readers.read_log` takes them.
        header: likewise.

    Raises:
        DataError: no rows, or a column that is not there.
    """

    def __init__(self, file: TextFile, columns: Columns, header: bool | None) -> None:
        self.path = file.path
        self._file = file
        suffix = suffix_of(file.path)
        first_line = next((line for _, line in file.lines() if line.strip()), "")
        self._delimiter = "\t" if suffix in {".tsv", ".inter"} else _separator(first_line)
        self._quoted = file.quotes and self._delimiter != "::" and suffix != ".inter"
        rows = self._records()
        self._first_line, first = next(rows, (0, []))
        if not first:
            raise DataError(f"{self.path}: is empty")
        first = [value.strip() for value in first]
        self._header = _is_header(first) if header is None else header
        self._width = len(first)
        second_line, _ = next(rows, (0, []))
        if self._header and not second_line:
            raise DataError(f"{self.path}: has a header and no rows")
        self._skipped = second_line - 1 if self._header else self._first_line - 1
        names = first if self._header else [str(place) for place in range(1, len(first) + 1)]
        asked = columns if self._header else _by_position(columns, len(names))
        roles = asked.resolve(names, str(self.path))
        self.file_order = roles.file_order
        self.columns = roles.named
        heading = "with header" if self._header else "no header"
        self.format = f"{_NAMES[self._delimiter]}-separated, {heading}{file.packing}"
        self._places = {role: names.index(column) for role, column in roles.named.items()}

    def load(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
        """Make the table ``log``; see `mclrec.data.text_tables.TextLog`."""
        plain = self._file.ending is not None and (not self._header or self._skipped == self._first_line)
        if not (plain and read_by_duckdb(connection, self._file, folder, self._query)):
            fill(connection, dict.fromkeys(self._places, pa.large_string()), self._values(), str(self.path))
        return list(self._places)

    def line_of(self, row: int) -> int:
        """The number of the line in which a row begins."""
        return next(line for number, (line, _) in enumerate(self._rows()) if number == row)

    def _query(self, file: str) -> str:
        wanted = ", ".join(f"c{place} AS {sql_name(role)}" for role, place in self._places.items())
        kinds = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(self._width))
        quote = "'\"'" if self._quoted else "''"
        return (
            f"SELECT {wanted} FROM read_csv({file}, columns = {{{kinds}}}, header = false, skip = {self._skipped}, "  # noqa: S608 - the path is quoted, the rest is ours
            f"delim = {sql_text(self._delimiter)}, quote = {quote}, escape = {quote}, {csv_options(self._file)})"
        )

    def _values(self) -> Iterator[list[str | None]]:
        """The values of each row that have a role; None for an empty one."""
        for line, fields in self._rows():
            if len(fields) != self._width and not (len(fields) == self._width + 1 and not fields[-1]):
                raise self._malformed(line, f"has {len(fields)} columns instead of {self._width}")
            yield [fields[place] or None for place in self._places.values()]

    def _malformed(self, line: int, what: str) -> DataError:
        mixed = "; line endings are mixed: end all with LF" if self._file.ending is None else ""
        return DataError(f"{self.path}:{line}: line {what}{mixed}")

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        rows = self._records()
        if self._header:
            next(rows)
        return rows

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """The rows with the numbers of the lines in which they begin; blank lines are passed over."""
        blank = " " if self._delimiter == "\t" else " \t"
        lines = self._file.lines()
        for number, text in lines:
            line = text.removesuffix("\r")
            if not line.strip(blank):
                continue
            if not self._quoted or '"' not in line:
                yield number, line.split(self._delimiter)
                continue
            try:
                yield number, self._quoted_record(text, lines)
            except MalformedError as problem:
                raise self._malformed(number, str(problem)) from None

    def _quoted_record(self, text: str, lines: Iterator[tuple[int, str]]) -> list[str]:
        """The fields of a record that begins with a line, and goes on in the next ones while a quote is open."""
        parts, size, end = [text], len(text), "\r" if self._file.ending == "\r" else "\n"
        for _ in range(_MOST_ATTEMPTS):
            fields = split_quoted(end.join(parts).removesuffix("\r"), self._delimiter)
            if fields is not None:
                return fields
            for _, line in lines:
                parts.append(line)
                size += len(line)
                if size > LONGEST_LINE:
                    raise MalformedError(_UNCLOSED)
                if line.count('"') % 2:
                    break
            else:
                break
        raise MalformedError(_UNCLOSED)


def _is_header(fields: list[str]) -> bool:
    return not any(_is_value(value) for value in fields) or has_known_name(fields)


def _is_value(text: str) -> bool:
    """Whether a field is a number or a date, and so not the name of a column."""
    return re.fullmatch(r"[-+]?\d[\d.eE+:TZ\s-]*", text) is not None


def _by_position(columns: Columns, count: int) -> Columns:
    """Headerless text: user, item, then the time, which comes fourth where there is a rating."""
    user, item, time = _POSITIONS.get(count, ("1", "2", "4"))
    if columns.file_order or columns.sequence is not None:
        time = None
    return replace(columns, user=columns.user or user, item=columns.item or item, time=columns.time or time)
