"""Categories of items, such as genres or departments, from a table of items."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mclrec.data.item_columns import read_item_column
from mclrec.data.packed import Packed
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError, quoted
from mclrec.wording import count_of

__all__ = ["ItemCategories", "read_categories"]

_NAMES = ("category", "categories", "genre", "genres", "department", "item_category", "product_category")
"""Names of the column of categories; without any of them, the second column is read."""


_FEW = 10
"""Number of items up to which it means nothing that most have a category of their own."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemCategories:
    """Categories of the items of a vocabulary.

    Attributes:
        names: the categories, in order.
        of_items: V + 1 lists of indices into ``names``, by dense id; empty for an item without a category.
        unknown: number of items of the table that are not in the vocabulary.
        column: name of the column that they were read from; None if it has no name.
    """

    names: tuple[str, ...]
    of_items: Packed
    unknown: int
    column: str | None

    @property
    def known(self) -> int:
        """Number of items of the vocabulary that have a category."""
        return int(np.count_nonzero(self.of_items.lengths))

    @property
    def description(self) -> str:
        """What was read from the table, in a sentence."""
        total = len(self.of_items) - 1
        text = f"{count_of(len(self.names), 'category', 'categories')} for {self.known:,} of {count_of(total, 'item')}"
        if self.column is not None:
            text += f", from the column {quoted(self.column)}"
        if 2 * len(self.names) > self.known > _FEW:
            text += "; hardly any two items share one: is it the right column?"
        if self.known < total:
            text += "; measures by categories leave out the others"
        if self.unknown:
            verb = "is" if self.unknown == 1 else "are"
            text += f"; {count_of(self.unknown, 'item')} of the table {verb} not in the data"
        return text


def read_categories(path: Path, items: Vocabulary) -> ItemCategories:
    """Read the categories of items: ids from the first column, categories from one with a usual name or the second.

    An item may have several categories: one per row, or a list in Parquet. A header is optional in text.

    Args:
        path: ``.csv``, ``.tsv`` or ``.parquet``.
        items: outside ids of the items.

    Raises:
        DataError: it cannot be read, has fewer than two columns, or no category for any of the items.
    """
    table = read_item_column(path, items, _NAMES, "categories", "the item's id and its category")
    ids, values, column = table
    try:
        dense = items.dense_all(ids).tolist()
    except DataError as problem:
        raise DataError(f"{path}: {problem}") from None
    found: list[set[str]] = [set() for _ in range(len(items) + 1)]
    for place, item in enumerate(dense):
        if item:
            found[item].update(_labels(values[place], path))
    names = tuple(sorted(set().union(*found)))
    if not names:
        raise table.none_known(path, "category", items, "the data", "the items of the data")
    places = {name: place for place, name in enumerate(names)}
    unknown = {value for value, item in zip(ids, dense, strict=True) if not item}
    of_items = Packed.of([sorted(map(places.__getitem__, own)) for own in found])
    return ItemCategories(names, of_items, len(unknown), column)


def _labels(value: Any, path: Path) -> Iterator[str]:
    """The categories in a cell; none in an empty one.

    Raises:
        DataError: it contains something other than text, a number, a date or a list of these.
    """
    if isinstance(value, list | tuple):
        for one in value:
            yield from _labels(one, path)
    elif isinstance(value, dict | bytes):
        raise DataError(
            f"{path}: {quoted(value)}: not a category, which is text, a number, or a list of these"
        )
    elif (
        value is not None
        and not (isinstance(value, float) and math.isnan(value))
        and (text := str(value).strip())
    ):
        yield text
