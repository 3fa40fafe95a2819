"""Unroll list columns of frames and Parquet files into tables with one row per item."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mclrec.data.column_types import is_text, plain
from mclrec.data.list_texts import SIGNS, ListTextError, list_elements, sign_of
from mclrec.data.packed import IntArray
from mclrec.data.raw_tables import RawTable, Selection, Types
from mclrec.errors import DataError, quoted

__all__ = ["SOURCE_ROW", "ListTable", "fields_of", "is_list"]

SOURCE_ROW = "source_row"
"""Name of the column with the number of the row that contains the list."""


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists."""
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def fields_of(kind: pa.DataType) -> list[str]:
    """Names of the fields of the structs in a column, or in its lists; empty without structs."""
    inside = kind.value_type if is_list(kind) else kind
    return [field.name for field in inside] if pa.types.is_struct(inside) else []


class ListTable:
    """A table of lists as a raw table of items: user, item, time if the lists have it, and position in the list.

    Args:
        raw: the table.
        places: indices of the columns in ``selection``: user, history, and item if one follows each list.
        inner: fields of the structs in the lists, by role.
        selection: columns of the table.

    Raises:
        DataError: the history column contains no lists.
    """

    in_order = True

    def __init__(
        self, raw: RawTable, places: dict[str, int], inner: dict[str, str], selection: Selection
    ) -> None:
        self.place, self.engine = raw.place, raw.engine
        self.format = f"{raw.format}, lists of items"
        self._raw = raw
        self._places, self._inner, self._selection = places, inner, selection
        self._starts: list[int] = []
        self._parents: list[IntArray] = []
        self._held = [False] * len(SIGNS)  # which separators occurred
        self._separated = False  # whether any of the lists had several elements
        for part, kinds in selection.types:
            kind = kinds[places["history"]]
            if not (is_list(kind) or is_text(kind)):
                raise DataError(f"{part}: the history column holds {kind}; it has to hold lists of items")
        self.names = ["user", "item", *(["time"] if "time" in inner else []), "sequence", SOURCE_ROW]

    def read(self, wanted: Sequence[int]) -> Selection:
        """Select some of the columns by index."""
        names = [self.names[place] for place in wanted]
        types: Types = [
            (part, [self._type(name, kinds) for name in names]) for part, kinds in self._selection.types
        ]
        return Selection(types, self._batches(names))

    def can_watch(self, place: int) -> bool:  # noqa: ARG002 - the interface of raw tables
        """Always False: no column beside the lists is counted."""
        return False

    def row_place(self, row: int) -> str:
        """The row that contains an item's list, for messages."""
        number = bisect_right(self._starts, row) - 1
        return self._raw.row_place(int(self._parents[number][row - self._starts[number]]))

    def _type(self, name: str, kinds: list[pa.DataType]) -> pa.DataType:
        if name == "user":
            return kinds[self._places["user"]]
        if name in ("sequence", SOURCE_ROW):
            return pa.int64()
        kind = kinds[self._places["history"]]
        if is_text(kind):
            return pa.large_string()
        inside = kind.value_type
        return inside.field(self._inner[name]).type if name in self._inner else inside

    def _batches(self, names: Sequence[str]) -> Iterator[list[pa.Array]]:
        rows = items = 0
        for arrays in self._selection.batches:
            found = self._unrolled([plain(array) for array in arrays], rows)
            self._starts.append(items)
            self._parents.append(found[SOURCE_ROW].to_numpy())
            rows += len(arrays[0])
            items += len(found["user"])
            yield [found[name] for name in names]

    def _unrolled(self, arrays: list[pa.Array], first: int) -> dict[str, pa.Array]:
        lists = self._lists(arrays[self._places["history"]], first)
        parents = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
        items = pc.list_flatten(lists)
        if "item" in self._places:
            items, parents = _followed(items, parents, arrays[self._places["item"]])
        starts = np.searchsorted(parents, parents)
        found = {
            "user": arrays[self._places["user"]].take(pa.array(parents)),
            "item": items,
            "sequence": pa.array(np.arange(len(parents)) - starts),
            SOURCE_ROW: pa.array(parents + first),
        }
        for role, field in self._inner.items():
            found[role] = pc.struct_field(items, field)
        return found

    def _lists(self, values: pa.Array, first: int) -> pa.Array:
        """The lists, parsed if they are text."""
        if is_list(values.type):
            return values
        texts = values.cast(pa.large_string())
        sign = self._sign(texts, first)
        found: list[list[str] | None] = []
        for row, text in enumerate(texts.to_pylist()):
            try:
                found.append(None if text is None else list_elements(text, sign))
            except ListTextError as problem:
                raise DataError(
                    f"{self._raw.row_place(first + row)}: history {quoted(text)} {problem}"
                ) from None
        self._separated = self._separated or any(len(elements or ()) > 1 for elements in found)
        return pa.array(found, pa.list_(pa.large_string()))

    def _sign(self, texts: pa.Array, first: int) -> str | None:
        """The separator of elements in a batch, which is that of all rows before it.

        Raises:
            DataError: lists of earlier batches were separated otherwise.
        """
        before = sign_of(self._held)
        here = [pc.match_substring(texts, sign) for sign in SIGNS]
        self._held = [
            known or bool(pc.any(found).as_py()) for known, found in zip(self._held, here, strict=True)
        ]
        sign = sign_of(self._held)
        if sign is not None and sign != before and self._separated:
            row = pc.index(here[SIGNS.index(sign)], True).as_py()
            raise DataError(
                f"{self._raw.row_place(first + row)}: history {quoted(texts[row].as_py())} has {sign!r} between items, "
                f"but earlier rows have {'blanks' if before is None else repr(before)}; write all lists in one way"
            )
        return sign


def _followed(items: pa.Array, parents: IntArray, last: pa.Array) -> tuple[pa.Array, IntArray]:
    """Append one more item to each list."""
    both = np.concatenate([parents, np.arange(len(last))])
    order = np.argsort(both, kind="stable")
    joined = pa.concat_arrays([items, last.cast(items.type)])
    return joined.take(pa.array(order)), both[order]
