"""Item attributes: columns of an item table (category, price, available) by dense id, for rules and titles."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.packed import IntArray
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError, MclrecWarning, quoted
from mclrec.files import regular_file, sha256_file
from mclrec.inference.name_index import NameIndex
from mclrec.inference.titles import TITLES
from mclrec.wording import count_of

__all__ = ["BoolArray", "FactColumn", "ItemFacts", "read_item_facts"]

BoolArray = npt.NDArray[np.bool_]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
"""Texts that are read as numbers; 007 stays text."""

_LONGEST_NUMBER = 40
"""Characters beyond which a number is read as a float; Python refuses integers of thousands of digits."""

_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, eq=False)
class FactColumn:
    """A column of the item table, by dense id.

    Attributes:
        name: of the column.
        kind: type of its values; ``other`` for a type that rules do not support.
        values: (V + 1,) by dense id: numbers, booleans, or indices into ``words``; arbitrary where ``there`` is false.
        there: (V + 1,) which items have a value.
        words: the distinct texts of a text column, sorted.
        described: name of the type, if ``kind`` is ``other``.
    """

    name: str
    kind: Literal["text", "number", "flag", "other"]
    values: npt.NDArray[Any]
    there: BoolArray
    words: tuple[str, ...] = ()
    described: str = ""

    @cached_property
    def places(self) -> dict[str, int]:
        """Index of each text in ``words``."""
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def groups(self) -> IntArray:
        """(V + 1,) group number of each item, one per distinct value; -1 for items without a value."""
        groups: IntArray = np.unique(self.values, return_inverse=True)[1].astype(np.int64).reshape(-1)
        return np.where(self.there, groups, -1)

    def nearest(self, word: str) -> str | None:
        """The column's text that is most similar to an unknown one; None if none is similar."""
        found = self._names.nearest(word, 1).tolist()
        return self.words[found[0]] if found else None

    @cached_property
    def _names(self) -> NameIndex:
        return NameIndex(self.words, np.bincount(self.values[self.there], minlength=len(self.words)))


@dataclass(frozen=True, eq=False)
class ItemFacts:
    """A table of attributes of a model's items.

    Attributes:
        columns: by name, without the id column.
        num_items: V.
        titles: (V + 1,) by dense id, an empty text for an item without one; empty if the table has no titles.
        checksum: of the file.
        path: of the file.
    """

    columns: dict[str, FactColumn]
    num_items: int
    titles: tuple[str, ...]
    checksum: str
    path: Path


def read_item_facts(path: Path, items: Vocabulary) -> ItemFacts:
    """Read a table of items.

    The first column holds ids; all columns have names. Items that the model does not have are left out; a
    `MclrecWarning` says how many of the model's items have no row. A text column called title or name (see `TITLES`)
    holds the titles.

    Args:
        path: ``.csv``, ``.tsv`` or ``.parquet``.
        items: outside ids of the model's items.

    Raises:
        DataError: the table cannot be read, has a column or an item twice, or has none of the model's items.
    """
    regular_file(path)
    names, ids, columns = _read(path)
    if len(names) < 2:
        raise DataError(f"{path}: has no column besides the item ids")
    if repeated := {name for name in names if names.count(name) > 1}:
        raise DataError(f"{path}: has two columns called {quoted(min(repeated))}")
    dense = items.dense_all("" if one is None else one for one in ids)
    rows = np.flatnonzero(dense)
    _check_items(path, ids, dense, items)
    with foreign_errors(str(path), "the table of items cannot be read"):
        found = {
            name: _column(name, column.take(pa.array(rows)), dense[rows], len(items))
            for name, column in zip(names[1:], columns, strict=True)
        }
    return ItemFacts(found, len(items), _titles(found.values()), sha256_file(path), path)


def _check_items(path: Path, ids: Sequence[Any], dense: IntArray, items: Vocabulary) -> None:
    """Compare the table's items with the model's, and warn of items without a row.

    Raises:
        DataError: an item has two rows, or no item of the model has one.
    """
    rows = np.bincount(dense, minlength=len(items) + 1)[1:]
    if (rows > 1).any():
        raise DataError(f"{path}: item {quoted(items[int(np.argmax(rows)) + 1])} has two rows")
    known = int(rows.sum())
    if not known:
        first = quoted(ids[0]) if len(ids) else "nothing"
        raise DataError(
            f"{path}: has no row for an item of the model; its first column begins with {first}, the model's items "
            f"with {quoted(items[1])}"
        )
    if known < len(items):
        said = f"{path}: {len(items) - known:,} of {count_of(len(items), 'item')} have no row"
        warnings.warn(MclrecWarning(said), stacklevel=3)


def _read(path: Path) -> tuple[list[str], list[Any], Iterator[pa.Array]]:
    """Read the names of the columns, the ids, and the other columns.

    Raises:
        DataError: the file cannot be read.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            table = pq.read_table(path)
            columns = [table.column(place).combine_chunks() for place in range(table.num_columns)]
            return table.column_names, columns[0].to_pylist() if columns else [], iter(columns[1:])
        if kind in _DELIMITERS:
            with path.open(encoding="utf-8-sig", newline="") as file:
                lines = [row for row in csv.reader(file, delimiter=_DELIMITERS[kind]) if row]
            names = [name.strip() for name in lines[0]] if lines else []
            _check_lines(path, lines, len(names))
            texts = [[row[place].strip() for row in lines[1:]] for place in range(len(names))]
            return names, texts[0] if texts else [], map(_infer_type, texts[1:])
    except (OSError, pa.ArrowException, csv.Error, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem).partition("\n")[0]
        raise DataError(f"{path}: the table of items cannot be read: {reason}") from None
    raise DataError(f"{path}: the table of items is read from .csv, .tsv or .parquet")


def _check_lines(path: Path, lines: Sequence[Sequence[str]], columns: int) -> None:
    for number, row in enumerate(lines, start=1):
        if len(row) != columns:
            raise DataError(
                f"{path}: row {number}: has {count_of(len(row), 'value')}, but the first row has "
                f"{count_of(columns, 'name')}"
            )


def _infer_type(texts: Sequence[str]) -> pa.Array:
    """Infer the type of a text column: numbers or booleans if all values are; empty values are missing."""
    given = [text for text in texts if text]
    convert: Any = str
    if given and all(map(_NUMBER.fullmatch, given)):
        convert = int if all("." not in text and "e" not in text.lower() for text in given) else float
        if any(len(text) > _LONGEST_NUMBER or abs(convert(text)) >= 2**63 for text in given):
            convert = float
    elif given and all(text.lower() in _FLAGS for text in given):
        return pa.array([_FLAGS[text.lower()] if text else None for text in texts], pa.bool_())
    return pa.array([convert(text) if text else None for text in texts])


def _column(name: str, column: pa.Array, dense: IntArray, num_items: int) -> FactColumn:
    """Reorder a column by dense id, and reduce its type to text, number, boolean or other."""
    if pa.types.is_uint64(column.type):
        column = _signed(column)
    kind = column.type
    there = np.zeros(num_items + 1, dtype=bool)
    there[dense] = column.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_boolean(kind):
        return FactColumn(name, "flag", _spread(column.fill_null(False), dense, num_items, np.bool_), there)
    if pa.types.is_integer(kind):
        return FactColumn(name, "number", _spread(column.fill_null(0), dense, num_items, np.int64), there)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = _spread(_doubles(column).fill_null(np.nan), dense, num_items, np.float64)
        return FactColumn(name, "number", values, there & ~np.isnan(values))
    if pa.types.is_null(kind):
        column = column.cast(pa.string())
    elif pa.types.is_dictionary(kind) or (pa.types.is_temporal(kind) and not pa.types.is_duration(kind)):
        column = pc.cast(column, pa.string())  # ISO dates such as 2026-06-02 sort by time
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return FactColumn(name, "other", np.zeros(num_items + 1, np.bool_), there, described=str(kind))
    texts = column.to_pylist()
    words = tuple(sorted({text for text in texts if text is not None}))
    places = {word: place for place, word in enumerate(words)}
    codes = np.zeros(num_items + 1, dtype=np.int64)
    codes[dense] = [places[text] if text is not None else 0 for text in texts]
    return FactColumn(name, "text", codes, there, words)


def _signed(column: pa.Array) -> pa.Array:
    """Cast unsigned integers to signed ones, or to floats if one is too large."""
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column.cast(pa.float64(), safe=False)


def _doubles(column: pa.Array) -> pa.Array:
    """Cast numbers to doubles: to those of their decimal digits, so that 10.1 in single precision equals 10.1."""
    if not (pa.types.is_float32(column.type) or pa.types.is_float16(column.type)):
        return column.cast(pa.float64())
    distinct, places = np.unique(column.to_numpy(zero_copy_only=False), return_inverse=True)
    return pa.array(distinct.astype(str).astype(np.float64)[places.reshape(-1)])


def _spread(column: pa.Array, dense: IntArray, num_items: int, kind: type[Any]) -> npt.NDArray[Any]:
    """Scatter the values of rows to a (V + 1,) array by dense id."""
    values = np.zeros(num_items + 1, dtype=kind)
    values[dense] = column.to_numpy(zero_copy_only=False)
    return values


def _titles(columns: Iterable[FactColumn]) -> tuple[str, ...]:
    """The titles of a table, from the text column whose name comes first in `TITLES`; empty if there is none."""
    named = {column.name.strip().lower(): column for column in columns if column.kind == "text"}
    for name in TITLES:
        if name in named:
            found = named[name]
            words = [*found.words, ""]
            return tuple(
                words[place] for place in np.where(found.there, found.values, len(found.words)).tolist()
            )
    return ()
