"""Convert raw columns to a log: resolve roles, types and missing values in the same way for every kind of source."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mclrec.data.column_types import UnfitError, common_type, converted, missing_values, plain
from mclrec.data.columns import Columns, has_item
from mclrec.data.conditions import condition_roles
from mclrec.data.intake import Found, WatchedKind, dropped_missing, taken_columns
from mclrec.data.list_columns import ListTable, fields_of, is_list
from mclrec.data.origin import Reading
from mclrec.data.packed import IntArray
from mclrec.data.raw_tables import ParquetTable, RawTable, Selection
from mclrec.data.typed_text import missing
from mclrec.data.wanted_rows import WantedRows
from mclrec.data.watched_columns import Watching, watched_columns
from mclrec.errors import DataError
from mclrec.wording import count_of

__all__ = ["Normalised", "normalised"]


@dataclass(frozen=True, slots=True)
class Normalised:
    """A log as Arrow batches.

    Attributes:
        schema: columns by role: ids int64 or large_string, time and sequence int64, float64 or large_string.
        batches: the rows; they can be iterated once.
        ticks: ticks of ``time`` per unit that `mclrec.data.readers.Log` counts in.
        text: whether time or sequence is text that has yet to be parsed.
        raw: the table that the log was read from.
        named: column names by role.
        first: values of the first row by role, once it has been read.
        rows: maps rows to their source, and knows which were dropped.
        lists: whether the table held lists, whose rows have yet to be settled (`mclrec.data.histories.settle`).
        followed: whether each list is followed by an item in a column of its own.
        wanted: the rows of the raw table that a condition kept; None without a condition.
        day: a column that may hold the days of the times.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    ticks: int
    text: bool
    raw: RawTable
    named: dict[str, str]
    first: dict[str, Any]
    rows: _Conversion
    lists: bool = False
    followed: bool = False
    wanted: WantedRows | None = None
    day: str | None = None

    def found(self) -> Found:
        """What was found in the log; available once its rows have been read."""
        found = replace(
            self.rows.dropped(),
            format=self.raw.format,
            columns=taken_columns(self.named, self.first),
            columns_again=None if self.lists else self._columns(),
            lists=self.lists,
            followed=self.followed,
            day=self.day,
        )
        return found if self.wanted is None else self.wanted.add_to(found)

    def _columns(self) -> Columns:
        named = self.named.get
        return Columns(
            user=named("user"),
            item=named("item"),
            time=named("time"),
            sequence=named("sequence"),
            label=named("label"),
        )


def normalised(raw: RawTable, reading: Reading) -> Normalised:
    """Find the columns of a log and determine their types.

    Raises:
        DataError: a column is missing or has an unusable type. Unusable values raise it while ``batches`` is iterated.
    """
    for option in ("header", "quote", "encoding"):
        if getattr(reading, option) is not None:
            raise DataError(f"{raw.place}: is not text, so --{option} cannot be used")
    columns = reading.columns or Columns()
    if isinstance(raw, ParquetTable) and columns.history is None:
        columns = replace(columns, history=_only_list_column(raw, columns))
    if reading.where is None:
        return _with_roles(raw, columns, reading)
    wanted = WantedRows(raw, reading.where)
    return replace(_with_roles(wanted, columns, reading), wanted=wanted)


def _with_roles(raw: RawTable, columns: Columns, reading: Reading) -> Normalised:
    if columns.history is not None:
        return _of_lists(raw, columns, reading)
    roles = columns.resolve(raw.names, raw.place)
    numbered = roles.file_order and roles.sequence is None
    if numbered and not raw.in_order:
        raise DataError(
            f"{raw.place}: the rows of a lazy frame have no order; name a column of times or a sequence column"
        )
    named = roles.named
    taken = named | condition_roles(reading.where, raw.names, raw.place)
    watched = {
        name: kind
        for name, kind in watched_columns(raw.names, taken.values()).items()
        if raw.can_watch(raw.names.index(name))
    }
    selection = raw.read([raw.names.index(column) for column in [*named.values(), *watched]])
    conversion = _Conversion(raw, list(named), selection, reading, numbered, watched)
    return replace(conversion.result(named), day=roles.day)


def _only_list_column(raw: ParquetTable, columns: Columns) -> str | None:
    """The only list column of a log without an item column; None if there is no such column, or several."""
    if columns.item is not None or has_item(raw.names):
        return None
    lists = [name for name, kind in zip(raw.names, raw.kinds, strict=True) if is_list(kind)]
    return lists[0] if len(lists) == 1 else None


def _of_lists(raw: RawTable, columns: Columns, reading: Reading) -> Normalised:
    """Normalise a table of lists; its columns are resolved before it is known whether the lists hold structures."""
    outside = replace(columns, time=None, sequence=None)
    if columns.item not in raw.names:
        outside = replace(outside, item=None)
    named = outside.resolve(raw.names, raw.place).named
    selection = raw.read([raw.names.index(column) for column in named.values()])
    places = {role: number for number, role in enumerate(named)}
    fields = fields_of(selection.types[0][1][places["history"]])
    inner = dict(columns.resolve(raw.names, raw.place, fields).inner)
    if fields:
        places.pop("item", None)
    lists = ListTable(raw, places, inner, selection)
    shown = {"user": named["user"], "item": f"items of {named['history']}"}
    conversion = _Conversion(lists, lists.names, lists.read(range(len(lists.names))), reading, False)
    return replace(conversion.result(shown), lists=True, followed="item" in places)


class _Conversion:
    """Conversion of the rows of a table to those of a log."""

    def __init__(
        self,
        raw: RawTable,
        roles: list[str],
        selection: Selection,
        reading: Reading,
        numbered: bool,
        watched: Mapping[str, WatchedKind] | None = None,
    ) -> None:
        self._raw, self._selection = raw, selection
        self._drop = reading.drop_missing
        self._roles = roles
        self._targets = {
            role: common_type(role, [(part, kinds[number]) for part, kinds in selection.types])
            for number, role in enumerate(roles)
        }
        self._numbered = numbered
        self._watching = Watching(watched or {})
        self._first: dict[str, Any] = {}
        self._kept: list[IntArray] = []
        self._starts = [0]
        self._read = 0

    def result(self, named: dict[str, str]) -> Normalised:
        """The log; none of its rows has been read yet."""
        kinds = {role: target.stored for role, target in self._targets.items()}
        if self._numbered:
            kinds["sequence"] = pa.int64()
        schema = pa.schema(list(kinds.items()))
        time = self._targets.get("time")
        text = any(target.text for target in self._targets.values())
        return Normalised(
            schema,
            self._batches(schema),
            time.ticks if time else 1,
            text,
            self._raw,
            named,
            self._first,
            self,
        )

    def row_place(self, row: int) -> str:
        """Where a row of the log comes from, for messages."""
        if not self._drop:
            return self._raw.row_place(row)
        number = bisect_right(self._starts, row) - 1
        return self._raw.row_place(int(self._kept[number][row - self._starts[number]]))

    def dropped(self) -> Found:
        """The number of rows dropped, and what was counted in watched columns."""
        found = Found()
        if self._drop:
            found = dropped_missing(self._read, self._read - self._starts[-1])
        return replace(found, watched=self._watching.found())

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for arrays in self._selection.batches:
            self._watching.add(arrays[len(self._roles) :])
            present = {role: plain(values) for role, values in zip(self._roles, arrays, strict=False)}
            start, rows = self._read, len(arrays[0])
            numbers = np.arange(start, start + rows)
            if self._drop:
                present, numbers = self._whole(present, numbers)
            else:
                _refuse_missing(self._raw, present, self._selection.batches, start)
            try:
                values = [converted(role, present[role], target) for role, target in self._targets.items()]
            except UnfitError as problem:
                raise DataError(f"{self._raw.row_place(int(numbers[problem.row]))}: {problem}") from None
            if not self._first and len(numbers):
                self._first.update({role: _value(column[0]) for role, column in present.items()})
            if self._numbered:
                values.append(pa.array(numbers))
            self._read += rows
            yield pa.record_batch(values, schema=schema)
        if not self._read:
            raise DataError(f"{self._raw.place}: has no rows")
        if self._drop and not self._starts[-1]:
            raise DataError(
                f"{self._raw.place}: nothing is left without the {count_of(self._read, 'row')} that lack a value"
            )

    def _whole(self, present: dict[str, pa.Array], numbers: IntArray) -> tuple[dict[str, pa.Array], IntArray]:
        """The rows without missing values, and their numbers."""
        lacking = np.zeros(len(numbers), dtype=np.bool_)
        for role, values in _required(present):
            lacking |= missing_values(role, values).to_numpy(zero_copy_only=False)
        if lacking.any():
            kept = pa.array(~lacking)
            present, numbers = (
                {role: values.filter(kept) for role, values in present.items()},
                numbers[~lacking],
            )
        self._kept.append(numbers)
        self._starts.append(self._starts[-1] + len(numbers))
        return present, numbers


def _value(cell: pa.Scalar) -> Any:
    """The value of a cell; None if Python cannot represent it, such as a time after the year 9999."""
    try:
        return cell.as_py()
    except (ValueError, OverflowError):
        return None


def _required(columns: Mapping[str, pa.Array]) -> Iterator[tuple[str, pa.Array]]:
    """The columns in which no value may be missing, by role."""
    return ((role, values) for role, values in columns.items() if role != "label")


def _refuse_missing(
    raw: RawTable, present: dict[str, pa.Array], rest: Iterator[list[pa.Array]], start: int
) -> None:
    """Refuse a batch with missing values; the error also counts those in the batches that follow."""
    masks = {role: missing_values(role, values) for role, values in _required(present)}
    rows = [row for mask in masks.values() if (row := pc.index(mask, True).as_py()) >= 0]
    if not rows:
        return
    counts = {role: pc.sum(mask).as_py() for role, mask in masks.items()}
    for arrays in rest:
        for role, values in _required(dict(zip(present, arrays, strict=False))):  # watched columns come last
            counts[role] += pc.sum(missing_values(role, plain(values))).as_py() or 0
    raise missing(raw.place, counts, raw.row_place(start + min(rows)))
