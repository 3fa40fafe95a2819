"""Lists of records that print as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, TypeVar, overload

__all__ = ["Records"]

Item = TypeVar("Item")


class Records(Sequence[Item]):
    """An immutable list of records that prints as a table, in notebooks too.

    Args:
        items: the records.
        columns: attributes of a record that the table shows.
    """

    def __init__(self, items: Iterable[Item], columns: Sequence[str]) -> None:
        self._items, self._columns = tuple(items), tuple(columns)

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Records[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | Records[Item]:
        if isinstance(place, slice):
            return Records(self._items[place], self._columns)
        return self._items[place]

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        rows = [list(self._columns), *self._texts()]
        widths = [max(len(text) for text in column) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows
        ]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{escape(name)}</th>" for name in self._columns)
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in self._texts()
        )
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"

    def _texts(self) -> list[list[str]]:
        return [[_text(name, getattr(item, name)) for name in self._columns] for item in self._items]


def _text(column: str, value: Any) -> str:
    """Text of a cell: empty for None, integers with thousands separators except years, tuples joined with commas."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return f"{value:,}" if isinstance(value, int) and column != "year" else str(value)
