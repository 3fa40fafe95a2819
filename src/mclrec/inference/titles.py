"""Titles of items: what people call what a log has ids for, from a csv, tsv or Parquet file."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError, MclrecWarning, quoted
from mclrec.wording import count_of

__all__ = ["read_titles"]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_TITLES = ("title", "name", "item_title", "item_name", "product_name")
"""Names of the column of titles; the second column if none of them is there."""


def read_titles(path: Path, items: Vocabulary) -> tuple[str, ...]:
    """Read the titles of the items of a model.

    The first column holds ids, and the one called title or name, or else the second, the titles. A line with names is
    optional in text. Items that the model does not have are left out; a `MclrecWarning` says how many have no title.

    Args:
        path: ``.csv``, ``.tsv`` or ``.parquet``.
        items: outside ids of the model's items.

    Returns:
        (V + 1,) titles by dense id; empty where an item has none.

    Raises:
        DataError: it cannot be read, has fewer than two columns, names an item twice, or none of the model's.
    """
    ids, texts = _columns(path, items)
    titles = [""] * (len(items) + 1)
    dense = items.dense_all(ids)
    for place in np.flatnonzero(dense).tolist():
        item, title = int(dense[place]), str(texts[place] if texts[place] is not None else "").strip()
        if titles[item] and title and titles[item] != title:
            raise DataError(
                f"{path}: item {quoted(ids[place])} has two titles, {quoted(titles[item])} and {quoted(title)}"
            )
        titles[item] = titles[item] or title
    known = sum(map(bool, titles))
    if not known:
        first = quoted(ids[0]) if len(ids) else "nothing"
        raise DataError(
            f"{path}: has no title for an item of the model; its first column begins with {first}, the model's items "
            f"with {quoted(items[1])}"
        )
    if known < len(items):
        warnings.warn(
            MclrecWarning(f"{path}: {len(items) - known:,} of {count_of(len(items), 'item')} have no title"),
            stacklevel=2,
        )
    return tuple(titles)


def _columns(path: Path, items: Vocabulary) -> tuple[Sequence[Any], Sequence[Any]]:
    """Ids and titles, row by row."""
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            table = pq.read_table(path)
            _check(path, len(table.column_names))
            return table.column(0).to_pylist(), table.column(_place(table.column_names)).to_pylist()
        if kind in _DELIMITERS:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = [row for row in csv.reader(file, delimiter=_DELIMITERS[kind]) if row]
            return _of_text(path, rows, items)
    except (OSError, pa.ArrowException, csv.Error, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem).partition("\n")[0]
        raise DataError(f"{path}: titles cannot be read: {reason}") from None
    raise DataError(f"{path}: titles are read from .csv, .tsv or .parquet")


def _of_text(path: Path, rows: list[list[str]], items: Vocabulary) -> tuple[list[str], list[str]]:
    for number, row in enumerate(rows, start=1):
        _check(path, len(row), number)
    if not rows:
        return [], []
    named = not items.dense(rows[0][0].strip())
    place = _place(rows[0]) if named else 1
    rows = rows[named:]
    return [row[0].strip() for row in rows], [row[place] if place < len(row) else "" for row in rows]


def _place(names: Sequence[str]) -> int:
    """Which column has the titles."""
    plain = [name.strip().lower() for name in names]
    return next((plain.index(name) for name in _TITLES if name in plain[1:]), 1)


def _check(path: Path, columns: int, row: int | None = None) -> None:
    if columns < 2:
        where = "" if row is None else f"row {row}: "
        raise DataError(f"{path}: {where}has {columns} column; titles need two, the item's id and its title")
