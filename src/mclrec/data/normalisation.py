"""Raw columns become a log: roles, types and missing values are looked at here, for every kind of source alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mclrec.data.column_types import UnfitError, common_type, converted, missing_values, plain
from mclrec.data.columns import Columns
from mclrec.data.intake import Found, taken_columns
from mclrec.data.raw_tables import RawTable
from mclrec.data.typed_text import missing
from mclrec.errors import DataError

__all__ = ["Normalised", "normalised"]


@dataclass(frozen=True, slots=True)
class Normalised:
    """A log in Arrow.

    Attributes:
        schema: columns by their roles: ids int64 or large_string, time and sequence int64, float64 or large_string.
        batches: the rows, once.
        ticks: units of ``time`` in one of what `mclrec.data.readers.Log` has.
        text: whether time or sequence are text that has yet to be read.
        raw: where it is from.
        named: names of its columns by role.
        first: values of the first row by role, once it was read.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    ticks: int
    text: bool
    raw: RawTable
    named: dict[str, str]
    first: dict[str, Any]

    def found(self) -> Found:
        """What the log has in it, once its rows were read."""
        return Found(self.raw.format, taken_columns(self.named, self.first))


def normalised(raw: RawTable, columns: Columns) -> Normalised:
    """Find the columns of a log and give them their types.

    Raises:
        DataError: a column is missing or of a type that cannot be used; ``batches`` raises it for values.
    """
    roles = columns.resolve(raw.names, raw.place)
    numbered = roles.file_order and roles.sequence is None
    if numbered and not raw.in_order:
        raise DataError(
            f"{raw.place}: a lazy frame has no order of rows; name a column that has it, of time or sequence"
        )
    named = roles.named
    wanted = [raw.names.index(column) for column in named.values()]
    selection = raw.read(wanted)
    targets = {
        role: common_type(role, [(part, kinds[number]) for part, kinds in selection.types])
        for number, role in enumerate(named)
    }
    kinds = {role: target.stored for role, target in targets.items()}
    if numbered:
        kinds["sequence"] = pa.int64()

    first: dict[str, Any] = {}

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for arrays in selection.batches:
            present = {role: plain(values) for role, values in zip(named, arrays, strict=True)}
            _refuse_missing(raw, present, selection.batches, start)
            try:
                values = [converted(role, present[role], target) for role, target in targets.items()]
            except UnfitError as problem:
                raise DataError(f"{raw.row_place(start + problem.row)}: {problem}") from None
            rows = len(arrays[0])
            if not first and rows:
                first.update({role: _value(column[0]) for role, column in present.items()})
            if numbered:
                values.append(pa.array(range(start, start + rows), pa.int64()))
            start += rows
            yield pa.record_batch(values, schema=schema)
        if not start:
            raise DataError(f"{raw.place}: has no rows")

    schema = pa.schema(list(kinds.items()))
    time = targets.get("time")
    text = any(target.text for target in targets.values())
    return Normalised(schema, batches(), time.ticks if time else 1, text, raw, named, first)


def _value(cell: pa.Scalar) -> Any:
    """The value of a cell; None if Python has none for it, as for a moment beyond the year 9999."""
    try:
        return cell.as_py()
    except (ValueError, OverflowError):
        return None


def _refuse_missing(
    raw: RawTable, present: dict[str, pa.Array], rest: Iterator[list[pa.Array]], start: int
) -> None:
    """Refuse a part with missing values, and count those of the parts that follow it."""
    masks = {role: missing_values(role, values) for role, values in present.items()}
    rows = [row for mask in masks.values() if (row := pc.index(mask, True).as_py()) >= 0]
    if not rows:
        return
    counts = {role: pc.sum(mask).as_py() for role, mask in masks.items()}
    for arrays in rest:
        for role, values in zip(present, arrays, strict=True):
            counts[role] += pc.sum(missing_values(role, plain(values))).as_py() or 0
    raise missing(raw.place, counts, raw.row_place(start + min(rows)))
