"""Titles of items: what people call what a log has ids for, from a csv, tsv or Parquet file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from mclrec.data.item_columns import read_item_column
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError, MclrecWarning, quoted
from mclrec.wording import count_of

__all__ = ["TITLES", "read_titles"]

TITLES = ("title", "name", "item_title", "item_name", "product_name")
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
    table = read_item_column(path, items, TITLES, "titles", "the item's id and its title")
    ids, texts = table.ids, table.values
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
        raise table.none_known(path, "title", items, "the model", "the model's items")
    if known < len(items):
        warnings.warn(
            MclrecWarning(f"{path}: {len(items) - known:,} of {count_of(len(items), 'item')} have no title"),
            stacklevel=2,
        )
    return tuple(titles)
