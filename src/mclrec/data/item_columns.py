"""Read one column of a table about items, with one row per item, from a CSV, TSV or Parquet file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError, quoted

__all__ = ["ItemColumn", "read_item_column"]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


class ItemColumn(NamedTuple):
    """A column of a table about items, row by row.

    Attributes:
        ids: outside ids of the items.
        values: values of the column.
        name: name of the column; None if the file has no header.
    """

    ids: Sequence[Any]
    values: Sequence[Any]
    name: str | None

    def none_known(self, path: Path, what: str, items: Vocabulary, owner: str, theirs: str) -> DataError:
        """The error for a table that has no value for any item of a vocabulary.

        Args:
            path: path of the table.
            what: what the column contains, in the singular.
            items: the vocabulary.
            owner: what the items belong to, as in "an item of the model".
            theirs: the items as the subject of a sentence, as in "the model's items".
        """
        first = quoted(self.ids[0]) if len(self.ids) else "nothing"
        return DataError(
            f"{path}: has no {what} for any item of {owner}; its first column begins with {first}, {theirs} with "
            f"{quoted(items[1])}"
        )


def read_item_column(
    path: Path, items: Vocabulary, names: Sequence[str], what: str, needs: str
) -> ItemColumn:
    """Read ids and values, row by row. The first column holds ids; a header is optional in text.

    Args:
        path: ``.csv``, ``.tsv`` or ``.parquet``.
        items: outside ids; the first row is a header if it does not begin with one of them.
        names: names of the column of values; without any of them, the second column is read.
        what: what is read, in the plural, for messages.
        needs: what the two columns are, for messages.

    Raises:
        DataError: it cannot be read, or has fewer than two columns.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            table = pq.read_table(path)
            _check(path, len(table.column_names), what, needs)
            place = _place(table.column_names, names)
            values = table.column(place).to_pylist()
            return ItemColumn(table.column(0).to_pylist(), values, table.column_names[place])
        if kind in _DELIMITERS:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = [row for row in csv.reader(file, delimiter=_DELIMITERS[kind]) if row]
            for number, row in enumerate(rows, start=1):
                _check(path, len(row), what, needs, number)
            return _of_text(rows, items, names)
    except (OSError, pa.ArrowException, csv.Error, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem).partition("\n")[0]
        raise DataError(f"{path}: {what} cannot be read: {reason}") from None
    raise DataError(f"{path}: {what} are read from .csv, .tsv or .parquet")


def _of_text(rows: list[list[str]], items: Vocabulary, names: Sequence[str]) -> ItemColumn:
    if not rows:
        return ItemColumn([], [], None)
    named = not items.dense(rows[0][0].strip())
    place = _place(rows[0], names) if named else 1
    name = rows[0][place].strip() if named else None
    rows = rows[named:]
    values = [row[place] if place < len(row) else "" for row in rows]
    return ItemColumn([row[0].strip() for row in rows], values, name)


def _place(found: Sequence[str], names: Sequence[str]) -> int:
    """Index of the column with the values."""
    plain = [name.strip().lower() for name in found]
    return next((plain.index(name) for name in names if name in plain[1:]), 1)


def _check(path: Path, columns: int, what: str, needs: str, row: int | None = None) -> None:
    if columns < 2:
        where = "" if row is None else f"row {row}: "
        raise DataError(f"{path}: {where}has {columns} column; {what} need two, {needs}")
