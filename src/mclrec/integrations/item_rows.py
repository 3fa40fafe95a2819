"""Rows of items in RecBole's item table, which numbers items in the order of first appearance in the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mclrec.data.columns import Columns
from mclrec.data.origin import Reading
from mclrec.data.packed import IntArray
from mclrec.data.readers import read_log
from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import ConfigError, DataError, quoted
from mclrec.files import system_reason
from mclrec.wording import count_of

__all__ = ["rows_by_appearance", "rows_by_file", "rows_by_ids"]


def rows_by_appearance(log: Any, reading: Reading, data: SequenceData) -> IntArray:
    """Rows (V,) of the items of prepared data, in the order of their first appearance in the log.

    Args:
        log: path of the log, or a frame.
        reading: reading options with which it was prepared.
        data: the prepared data.

    Raises:
        ConfigError: the log was prepared with an option for which RecBole's order is unknown.
        DataError: the log cannot be read.
    """
    if reading.drop_repeats:
        raise ConfigError(
            "RecBole sorts rows by time before it drops repeats, and its order of equal times is unknown; give a "
            "file of the items in the order of their rows: --items FILE"
        )
    columns = replace(reading.columns or Columns(), sequence=None, numbered=True)
    with read_log(log, reading.model_copy(update={"columns": columns})) as opened:
        table = (
            opened.frame.select("user", "item", "sequence").sort("sequence").collect("pyarrow").to_native()
        )
    kept = pc.and_(_among(table["user"], data.user_ids), _among(table["item"], data.item_ids))
    items = pc.unique(table["item"].filter(kept)).to_pylist()
    return _rows(data.item_ids, items, "the log")


def rows_by_ids(items: Vocabulary) -> IntArray:
    """Rows (V,) if the item with the id i has row i.

    Raises:
        ConfigError: the ids are not 1 to V.
    """
    found = np.array(list(items) if items.integers else [0], dtype=np.int64)
    if not np.array_equal(found, np.arange(1, len(items) + 1)):
        raise ConfigError(f"--items ids: the item ids in the log are not the numbers 1 to {len(items):,}")
    return found


def rows_by_file(path: Path, items: Vocabulary) -> IntArray:
    """Rows (V,) from a file of outside ids, one per line: the first has row 1.

    Raises:
        DataError: the file cannot be read, or its ids are not exactly the items of the log.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # an id may hold other separators
    except OSError as problem:
        raise DataError(f"{path}: cannot be read: {system_reason(problem)}") from None
    except ValueError:
        raise DataError(f"{path}: not UTF-8") from None
    return _rows(items, [line for line in lines if line], str(path))


def _among(column: pa.ChunkedArray, ids: Vocabulary) -> pa.ChunkedArray:
    wanted = ids.to_arrow()
    text = pa.large_string()
    return (
        pc.is_in(column, value_set=wanted)
        if column.type == wanted.type
        else pc.is_in(column.cast(text), value_set=wanted.cast(text))
    )


def _rows(items: Vocabulary, order: list[Any], place: str) -> IntArray:
    """Rows (V,) from the outside ids of the items in the order of their rows, which count from 1."""
    dense = items.dense_all(order)
    if not dense.all():
        raise DataError(f"{place}: {quoted(order[int(np.argmin(dense))])} is not an item of the prepared log")
    if len(np.unique(dense)) != len(items) or len(dense) != len(items):
        raise DataError(
            f"{place}: has {len(np.unique(dense)):,} of {count_of(len(items), 'item')}, but needs each of them once"
        )
    rows = np.empty(len(items), dtype=np.int64)
    rows[dense - 1] = np.arange(1, len(items) + 1)
    return rows
