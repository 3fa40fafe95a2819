"""Preparation: a log becomes `SequenceData`; ids get dense codes, rows their order, rare users and items are removed.

Coding, joining and sorting are narwhals expressions, run by the engine that holds the log (DuckDB, Polars,
pandas, Spark); the coded columns are streamed into flat NumPy arrays, where repeats and rare users and items are
removed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.packed import IntArray, counted, empty, gathered, selected
from mclrec.data.readers import Log
from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError

__all__ = ["prepare_log"]

_BATCH = 1 << 20  # rows streamed at a time
Codes = npt.NDArray[np.int32]


def prepare_log(log: Log, *, min_count: int, drop_repeats: bool) -> SequenceData:
    """Turn an open log into sequences; `mclrec.data.loading.prepare` says by which rules.

    Raises:
        DataError: the log cannot be read, or nothing is left of it.
    """
    with foreign_errors(log.place, "cannot be ordered"):
        rows = _coded(log)
    before = rows.counts
    if drop_repeats:
        rows = rows.take(_first_of_pairs(rows))
    rows = _core(rows, min_count)
    if not len(rows.items):
        raise DataError(
            f"{log.place}: nothing is left of {before} after removing users and items with fewer than "
            f"{min_count} interactions; use a smaller min_count"
        )
    return _sequences(rows, log.name)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The log in codes from 0, ordered by user and then in time.

    Attributes:
        users: (N,) places in ``user_ids``.
        items: (N,) places in ``item_ids``.
        times: (N,) or None.
        user_ids: all users of the log, also those whose rows were removed.
        item_ids: all items of the log, in the same way.
    """

    users: Codes
    items: Codes
    times: IntArray | None
    user_ids: Vocabulary
    item_ids: Vocabulary

    @property
    def counts(self) -> str:
        return f"{len(self.user_ids)} users, {len(self.item_ids)} items and {len(self.items)} rows"

    def take(self, kept: npt.NDArray[np.bool_]) -> _Rows:
        """Some of the rows, by mask."""
        times = None if self.times is None else selected(self.times, kept)
        return _Rows(
            selected(self.users, kept), selected(self.items, kept), times, self.user_ids, self.item_ids
        )


# -------------------------------------------------------------------------------- on the engine


def _coded(log: Log) -> _Rows:
    """Codes by outside id, and the rows in order."""
    users, items = _codes(log.frame, "user"), _codes(log.frame, "item")
    present = log.frame.collect_schema().names()
    order = ["user_code", *(column for column in ("time", "sequence") if column in present), "item_code"]
    wanted = ["user_code", "item_code", *(["time"] if "time" in present else [])]
    ordered = log.frame.join(users, on="user").join(items, on="item").sort(order).select(wanted)
    with tempfile.TemporaryDirectory(prefix="mclrec-") as folder:
        path = Path(folder) / "rows.parquet"
        ordered.sink_parquet(str(path))
        columns = _stream(_parts(path), log.ticks)
    return _Rows(
        columns["user_code"],
        columns["item_code"],
        columns.get("time"),
        _vocabulary(users, "user"),
        _vocabulary(items, "item"),
    )


def _codes(frame: nw.LazyFrame[Any], role: str) -> nw.LazyFrame[Any]:
    """The distinct ids of a column with their places in order."""
    code = f"{role}_code"
    distinct = frame.select(role).unique().with_row_index(code, order_by=role)
    return distinct.with_columns(nw.col(code).cast(nw.Int32))


def _vocabulary(codes: nw.LazyFrame[Any], role: str) -> Vocabulary:
    column = codes.sort(f"{role}_code").select(role).collect("pyarrow").to_native()[role].combine_chunks()
    return Vocabulary(column.cast(pa.int64() if pa.types.is_integer(column.type) else pa.large_string()))


def _parts(path: Path) -> list[Path]:
    """The files of a table: one, or those of a folder, as Spark writes it, which are numbered in order."""
    return sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]


def _stream(paths: Sequence[Path], ticks: int) -> dict[str, npt.NDArray[Any]]:
    """Columns of a table in Parquet files as arrays: codes as int32, times as int64, rounded down from their ticks."""
    rows = sum(pq.read_metadata(path).num_rows for path in paths)
    names = pq.read_schema(paths[0]).names
    columns = {name: empty(rows, np.int64 if name == "time" else np.int32) for name in names}
    start = 0
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                for name, column in columns.items():
                    values = batch[name].to_numpy(zero_copy_only=False)
                    whole = np.floor(values) if values.dtype.kind == "f" else values
                    if name == "time" and ticks != 1:
                        whole = whole // ticks
                    column[start : start + len(values)] = whole
                start += batch.num_rows
    return columns


# -------------------------------------------------------------------------------- on the arrays


def _first_of_pairs(rows: _Rows) -> npt.NDArray[np.bool_]:
    """Whether a row is the first of its user and item."""
    pairs = rows.users.astype(np.int64) * len(rows.item_ids) + rows.items
    first = np.zeros(len(pairs), dtype=np.bool_)
    first[np.unique(pairs, return_index=True)[1]] = True
    return first


def _core(rows: _Rows, min_count: int) -> _Rows:
    """Remove users and items with fewer than ``min_count`` rows, until none is left."""
    while True:
        kept = gathered(counted(rows.users, len(rows.user_ids)) >= min_count, rows.users)
        kept &= gathered(counted(rows.items, len(rows.item_ids)) >= min_count, rows.items)
        if kept.all():
            return rows
        rows = rows.take(kept)


def _sequences(rows: _Rows, name: str) -> SequenceData:
    """Number the users and items that are left, in the order of their codes."""
    lengths = counted(rows.users, len(rows.user_ids))
    item_counts = counted(rows.items, len(rows.item_ids))
    users, items = np.flatnonzero(lengths), np.flatnonzero(item_counts)
    dense = np.cumsum(item_counts > 0, dtype=np.int32)
    return SequenceData(
        items=gathered(dense, rows.items),
        offsets=np.concatenate([[0], np.cumsum(lengths[users])]),
        item_ids=rows.item_ids.take(items),
        user_ids=rows.user_ids.take(users),
        times=rows.times,
        name=name,
    )
