"""Titles of items, read from a CSV, TSV or Parquet file."""

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
"""Names of the title column, in order of precedence; files without any have their titles in the second column."""


def read_titles(path: Path, items: Vocabulary) -> tuple[str, ...]:
    """Read the titles of a model's items.

    The first column holds ids; the column called title or name (see `TITLES`), or else the second, holds the titles. In
    text files, a header is optional. Items that the model does not have are left out; a `MclrecWarning` says how many
    items of the model have no title.

    Args:
        path: ``.csv``, ``.tsv`` or ``.parquet``.
        items: outside ids of the model's items.

    Returns:
        (V + 1,) titles by dense id; an empty text for an item without one.

    Raises:
        DataError: the file cannot be read, has fewer than two columns, has two different titles for an item, or has no
            title for any of the model's items.
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
