"""Logs in delimited text: separator, header and columns; read by DuckDB if the text is simple, else in Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa

from mclrec.data.column_values import Doubt, placed
from mclrec.data.columns import Columns, token_list
from mclrec.data.conditions import condition_roles
from mclrec.data.dialects import has_header, quoting, separator
from mclrec.data.origin import Reading
from mclrec.data.places import suffix_of
from mclrec.data.quoting import MalformedError
from mclrec.data.text_files import TextFile
from mclrec.data.text_records import BLANKS, records, split_plain
from mclrec.data.text_tables import csv_options, fill, read_by_duckdb, sql_name, sql_text
from mclrec.data.watched_columns import is_watched_role, watched_columns, watched_roles
from mclrec.errors import DataError
from mclrec.wording import count_of

__all__ = ["DelimitedLog"]

_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", "::": "'::'", BLANKS: "blank"}
_PAIR = 2
_TRIM = "trim({0}, E' \\t')"


class DelimitedLog:
    """A log in delimited text.

    Args:
        file: the text.
        reading: the options for reading it.

    Raises:
        DataError: it has no rows, or a column is missing.
    """

    def __init__(self, file: TextFile, reading: Reading) -> None:
        self.path = file.path
        self._file = file
        columns = reading.columns or Columns()
        lines = [line for part in file.samples for line in part]
        first_line = next((line.removesuffix("\r") for _, line in file.lines() if line.strip()), "")
        self._delimiter, _ = separator(lines or [first_line])
        if suffix_of(file.path) in {".tsv", ".inter"} and "\t" in first_line:
            self._delimiter = "\t"
        self._quote = self._quote_of(reading, lines or [first_line])
        rows = self._records()
        self._first_line, first = next(rows, (0, []))
        if not first:
            raise DataError(f"{self.path}: is empty")
        parts = self._samples(first)
        below = [row for part in parts for row in part]
        self._header = has_header(first, below[1:], columns) if reading.header is None else reading.header
        self._width = len(first)
        second_line, _ = next(rows, (0, []))
        if self._header and not second_line:
            raise DataError(f"{self.path}: has a header and no rows")
        self._skipped = second_line - 1 if self._header else self._first_line - 1
        self.names = first if self._header else [str(place) for place in range(1, len(first) + 1)]
        self.doubts: list[Doubt] = []
        self.inner: dict[str, str] = {}
        if not self._header:
            columns, self.doubts = placed(parts, self._width, columns)
            if self._delimiter == BLANKS and self._width == _PAIR:
                self.doubts = []  # ordered 'user item' pairs, one per line, are a known format
        elif (history := token_list(self.names, columns)) is not None:
            columns = replace(columns, history=history)
        roles = columns.resolve(self.names, str(self.path))
        self.file_order = roles.file_order
        self.wanted = condition_roles(reading.where, self.names, str(self.path))
        self.watched = watched_columns(
            self.names if self._header and roles.history is None else [],
            (roles.named | self.wanted).values(),
            lambda name: [row[self.names.index(name)] for row in below[1:]],
        )
        both = roles.named | self.wanted | watched_roles(self.watched)
        self._places = {role: self.names.index(column) for role, column in both.items()}
        self.columns, self.day = roles.named, roles.day
        heading = "with header" if self._header else "no header"
        self.format = f"{_NAMES[self._delimiter]}-separated, {heading}{file.packing}"

    def _quote_of(self, reading: Reading, lines: Sequence[str]) -> str | None:
        if reading.quote is None:
            plain = suffix_of(self.path) == ".inter"
            return None if plain else quoting(self._file, self._delimiter, lines)
        if reading.quote != "none" and self._delimiter in (BLANKS, "::"):
            name = _NAMES[self._delimiter]
            raise DataError(f"{self.path}: is {name}-separated, so --quote {reading.quote} cannot be used")
        return None if reading.quote == "none" else reading.quote

    def _samples(self, first: list[str]) -> list[list[list[str]]]:
        """Sample rows from several places of the file: those without quotes and as wide as the first row."""
        parts = [
            [
                split_plain(line, self._delimiter)
                for line in part
                if self._quote is None or self._quote not in line
            ]
            for part in self._file.samples
        ]
        usual = [[row for row in part if len(row) == len(first)] for part in parts]
        return [part for part in usual if part] or [[first]]

    def load(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
        """Create the table ``log``; see `mclrec.data.text_tables.TextLog`."""
        plain = self._file.ending is not None and (not self._header or self._skipped == self._first_line)
        if not (plain and self._read(connection, folder)):
            fill(connection, dict.fromkeys(self._places, pa.large_string()), self._values(), str(self.path))
        if self._header:
            self._refuse_second_header(connection)
        return list(self._places)

    def _refuse_second_header(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Refuse a repeated header, a row whose values are the names of their columns, as in concatenated files.

        Raises:
            DataError: there is such a row.
        """
        again = " AND ".join(f"{sql_name(role)} = {sql_text(name)}" for role, name in self.columns.items())
        [(row,)] = connection.execute(f"SELECT min(rowid) FROM log WHERE {again}").fetchall()  # noqa: S608 - quoted
        if row is not None:
            raise DataError(
                f"{self.path}:{self.line_of(row)}: line repeats the header, as in concatenated files; "
                "remove it, or give the files as a folder"
            )

    def line_of(self, row: int) -> int:
        """The number of the line in which a row begins."""
        return next(line for number, (line, _) in enumerate(self._rows()) if number == row)

    def _read(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> bool:
        """Have DuckDB read the file; False if it cannot, or if values have outer blanks, which quotes would protect."""
        query = self._by_lines if self._delimiter == BLANKS else self._query
        if not read_by_duckdb(connection, self._file, folder, query):
            return False
        if not (self._file.blanks and self._quote is not None):
            return True
        edges = " OR ".join(
            f"{sql_name(role)} != {_TRIM.format(sql_name(role))}"
            for role in self._places
            if not is_watched_role(role)
        )
        [(edged,)] = connection.execute(f"SELECT count(*) FROM log WHERE {edges}").fetchall()  # noqa: S608 - ours
        if edged:
            connection.execute("DROP TABLE log")
        return not edged

    def _query(self, file: str) -> str:
        trimmed = self._file.blanks and self._quote is None
        value = f"nullif({_TRIM}, '')" if trimmed else "{0}"
        wanted = ", ".join(
            f"{value.format(f'c{place}')} AS {sql_name(role)}" for role, place in self._places.items()
        )
        kinds = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(self._width))
        quote = sql_text(self._quote or "")
        return (
            f"SELECT {wanted} FROM read_csv({file}, columns = {{{kinds}}}, header = false, skip = {self._skipped}, "  # noqa: S608 - the path is quoted, the rest is ours
            f"delim = {sql_text(self._delimiter)}, quote = {quote}, escape = {quote}, {csv_options(self._file)})"
        )

    def _by_lines(self, file: str) -> str:
        wanted = ", ".join(f"parts[{place + 1}] AS {sql_name(role)}" for role, place in self._places.items())
        fields = f"CASE WHEN len(words) = {self._width} THEN words ELSE error('width') END"
        return (
            f"SELECT {wanted} FROM (SELECT {fields} AS parts FROM "  # noqa: S608 - the path is quoted, the rest is ours
            "(SELECT string_split_regex(nullif(trim(line, E' \\t\\r'), ''), '[ \\t]+') AS words "
            f"FROM read_csv({file}, columns = {{'line': 'VARCHAR'}}, header = false, skip = {self._skipped}, "
            f"delim = '\x01', quote = '', escape = '', {csv_options(self._file)})) WHERE words IS NOT NULL)"
        )

    def _values(self) -> Iterator[list[str | None]]:
        """The values of each row in the columns that have a role; None for empty values."""
        for line, fields in self._rows():
            if len(fields) != self._width and not (len(fields) == self._width + 1 and not fields[-1]):
                raise self._malformed(line, f"has {count_of(len(fields), 'column')} instead of {self._width}")
            yield [fields[place] or None for place in self._places.values()]

    def _malformed(self, line: int, what: str) -> DataError:
        mixed = "; line endings are mixed: end all lines with LF" if self._file.ending is None else ""
        return DataError(f"{self.path}:{line}: line {what}{mixed}")

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        rows = self._records()
        if self._header:
            next(rows)
        return rows

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        try:
            yield from records(self._file, self._delimiter, self._quote)
        except MalformedError as problem:
            number, what = problem.args
            raise self._malformed(number, what) from None
