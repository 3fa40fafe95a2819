"""Preparation: turn a log into `SequenceData` by coding ids densely, ordering rows, and removing rare users and items.

Coding, joining and sorting are narwhals expressions, run by the engine that holds the log (DuckDB, Polars,
pandas, Spark). The coded columns are then streamed into flat NumPy arrays, where repeats and rare users and items are
removed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mclrec.data.coded_rows import CodedRows, Codes
from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.id_checks import check_rounded, doubtful_ids
from mclrec.data.intake import HASHED, Counts, DoubtfulIds, Intake, PartsTaken, Step
from mclrec.data.measures import measure, ties_of
from mclrec.data.nothing_left import largest_core, nothing_left
from mclrec.data.number_dates import are_clock_times, dates_read
from mclrec.data.packed import IntArray, blocks, counted, empty, gathered, run_blocks
from mclrec.data.part_rows import check_parts, cuts_of, first_in_parts, in_order
from mclrec.data.readers import Log
from mclrec.data.sequences import SequenceData
from mclrec.data.ties import TieRule, break_ties, whole_times
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError

__all__ = ["prepare_log"]

_BATCH = 1 << 20  # rows streamed at a time


def prepare_log(
    log: Log,
    *,
    min_count: int,
    drop_repeats: bool = False,
    drop_duplicates: bool = False,
    ties: TieRule | None = None,
) -> SequenceData:
    """Turn an open log into sequences, by the rules that `mclrec.data.loading.prepare` describes.

    Raises:
        DataError: the log cannot be read, or nothing is left of it.
    """
    with foreign_errors(log.place, "cannot be ordered"):
        rows = _coded(log, ties)
    check_rounded(rows.user_ids, "user", log.place)
    check_rounded(rows.item_ids, "item", log.place)
    doubtful, repeated = doubtful_ids(rows, _condition_columns(log)), 0
    if log.parts:
        rows, repeated = in_order(rows, log.parts)
    read, steps = rows.counts, list(log.found.steps)
    if drop_duplicates:
        rows = rows.take(_first_of_events(rows, log.place))
        steps.append(Step(rule="duplicates", option="--drop-duplicates", left=rows.counts))
    if drop_repeats:
        rows = rows.take(_first_of_pairs(rows))
        steps.append(Step(rule="repeats", option="--drop-repeats", left=rows.counts))
    before, rows = rows, _core(rows, min_count)
    if min_count > 1:
        steps.append(Step(rule="k-core", option=f"--min-count {min_count}", left=rows.counts))
    if not len(rows.items):
        most = largest_core(before.users, before.items, min_count)
        raise nothing_left(log.place, read, steps, min_count, most)
    data = _sequences(rows, log)
    parts = check_parts(rows, log.parts, repeated, log.ticks) if log.parts else None
    return _with_intake(data, rows, log, read, steps, parts, doubtful)


def _condition_columns(log: Log) -> dict[str, str]:
    """Columns that a condition may name, by role; excludes lists, and columns whose names were cut."""
    return {
        column.role: column.name
        for column in log.found.columns
        if not log.found.lists and not column.name.endswith("...")
    }


def _with_intake(
    data: SequenceData,
    rows: CodedRows,
    log: Log,
    read: Counts,
    steps: list[Step],
    parts: PartsTaken | None,
    doubtful: tuple[DoubtfulIds, ...],
) -> SequenceData:
    """The sequences with the record of what was taken from the log."""
    if log.found.read is not None:
        read = Counts(users=None, items=None, rows=log.found.read)
    intake = Intake(
        place=log.place,
        format=log.found.format,
        columns=log.found.columns,
        tie_order=rows.tie_order,
        read=read,
        steps=tuple(steps),
        left=measure(data, None if rows.times is None else ties_of(rows.users, rows.items, rows.times)),
        fingerprint=data.fingerprint,
        parts=parts,
        watched=log.found.watched,
        dates=rows.dates,
        doubtful=doubtful,
    )
    return replace(data, intake=intake)


# -------------------------------------------------------------------------------- on the engine


def _coded(log: Log, ties: TieRule | None) -> CodedRows:
    """Code ids in their order, and sort the rows."""
    users, items = _codes(log.frame, "user"), _codes(log.frame, "item")
    present = log.frame.collect_schema().names()
    moment = ["user_code", *(column for column in ("part", "time", "sequence") if column in present)]
    # The item comes last, so that rows are hashed in the same order on every engine.
    order = [*moment, "item_code"]
    ordered = log.frame.join(users, on="user").join(items, on="item").sort(order).select(order)
    with tempfile.TemporaryDirectory(prefix="mclrec-") as folder:
        path = Path(folder) / "rows.parquet"
        ordered.sink_parquet(str(path))
        columns = _stream(_parts(path), moment)
    times, dates = columns.get("time"), None
    if times is not None:
        _refuse_hours(times, columns["user_code"], log)
        times, dates = dates_read(times, log.ticks)
    rows = CodedRows(
        columns["user_code"],
        columns["item_code"],
        times,
        columns.get("part"),
        _tie_order(present, ties),
        _vocabulary(users, "user"),
        _vocabulary(items, "item"),
        dates,
    )
    break_ties(rows.users, rows.items, rows.times, columns["same"], rows.user_ids, rows.item_ids, log.ticks)
    return rows


def _refuse_hours(times: npt.NDArray[Any], users: Codes, log: Log) -> None:
    """Refuse hours or clock times if another column may hold their days and no time column was named.

    Raises:
        DataError: the times are hours or clock times.
    """
    found = log.found
    if found.day is None or not are_clock_times(times, users, log.ticks):
        return
    named = next((column.name for column in found.columns if column.role == "time"), "time")
    raise DataError(
        f"{log.place}: the time is spread over several columns ({found.day}, {named}): {named} holds hours or "
        f"clock times, from {times.min() // log.ticks:.0f} to {times.max() // log.ticks:.0f}, but no days; join them "
        "into one, such as 2024-01-31T18:00, or name the one that orders rows with --time-column"
    )


def _tie_order(columns: Sequence[str], ties: TieRule | None) -> str | None:
    """What orders rows of a user at the same time, in words; None without times."""
    if "time" not in columns:
        return None
    if ties == "file":
        return "order in the log"
    if "sequence" in columns:
        return "sequence column"
    return HASHED if ties is None else f"{HASHED}, as asked"


def _codes(frame: nw.LazyFrame[Any], role: str) -> nw.LazyFrame[Any]:
    """The distinct ids of a column with their ranks, counted from 0."""
    code = f"{role}_code"
    distinct = frame.select(role).unique().with_row_index(code, order_by=role)
    return distinct.with_columns(nw.col(code).cast(nw.Int32))


def _vocabulary(codes: nw.LazyFrame[Any], role: str) -> Vocabulary:
    column = codes.sort(f"{role}_code").select(role).collect("pyarrow").to_native()[role].combine_chunks()
    return Vocabulary(column.cast(pa.int64() if pa.types.is_integer(column.type) else pa.large_string()))


def _parts(path: Path) -> list[Path]:
    """The files of a table: a single one, or the numbered parts of a folder that Spark wrote, in order."""
    return sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]


def _stream(paths: Sequence[Path], moment: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Columns of a table in Parquet files as arrays: codes as int32, times in their own type.

    The array ``same`` tells whether a row equals the one before it in the columns ``moment``.
    """
    count = sum(pq.read_metadata(path).num_rows for path in paths)
    kinds: dict[str, npt.DTypeLike] = {"user_code": np.int32, "item_code": np.int32}
    if "time" in moment:
        kinds["time"] = pq.read_schema(paths[0]).field("time").type.to_pandas_dtype()
    if "part" in moment:
        kinds["part"] = np.int8
    columns = {name: empty(count, kind) for name, kind in {**kinds, "same": np.bool_}.items()}
    start, before = 0, None
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in filter(len, file.iter_batches(_BATCH)):
                here = slice(start, start + len(batch))
                for name in kinds:
                    columns[name][here] = batch[name].to_numpy(zero_copy_only=False)
                columns["same"][here], before = _repeated(batch.select(moment), before)
                start += len(batch)
    return columns


def _repeated(
    batch: pa.RecordBatch, before: pa.RecordBatch | None
) -> tuple[npt.NDArray[np.bool_], pa.RecordBatch]:
    """Whether each row equals the one before it (``before`` for the first row), and the last row."""
    same = np.ones(len(batch), np.bool_)
    for number, column in enumerate(batch.columns):
        same[1:] &= pc.equal(column.slice(1), column.slice(0, len(column) - 1)).to_numpy(zero_copy_only=False)
        same[0] &= before is not None and bool(pc.equal(column[0], before.column(number)[0]).as_py())
    return same, batch.slice(len(batch) - 1)


# -------------------------------------------------------------------------------- on the arrays


def _first_of_pairs(rows: CodedRows) -> npt.NDArray[np.bool_]:
    """(N,) whether a row is the first of its user and item."""
    pairs = rows.users.astype(np.int64) * len(rows.item_ids) + rows.items
    first = np.zeros(len(pairs), dtype=np.bool_)
    first[np.unique(pairs, return_index=True)[1]] = True
    return first


def _first_of_events(rows: CodedRows, place: str) -> npt.NDArray[np.bool_]:
    """(N,) whether a row is the first of its user, item and time.

    Raises:
        DataError: the log was read without times.
    """
    times = rows.times
    if times is None:
        raise DataError(
            f"{place}: --drop-duplicates compares user, item and time, but the log is read without times; "
            "--drop-repeats compares only user and item"
        )
    if rows.parts is not None:
        return first_in_parts(rows)
    same = np.zeros(len(times), dtype=np.bool_)
    same[1:] = (rows.users[1:] == rows.users[:-1]) & (times[1:] == times[:-1])
    first = np.zeros(len(times), dtype=np.bool_)
    for block in run_blocks(same):
        events = np.cumsum(~same[block]) * len(rows.item_ids) + rows.items[block]
        first[block.start + np.unique(events, return_index=True)[1]] = True
    return first


def _core(rows: CodedRows, min_count: int) -> CodedRows:
    """Remove users and items with fewer than ``min_count`` rows until every one has that many (k-core)."""
    while True:
        kept = gathered(counted(rows.users, len(rows.user_ids)) >= min_count, rows.users)
        kept &= gathered(counted(rows.items, len(rows.item_ids)) >= min_count, rows.items)
        if kept.all():
            return rows
        rows = rows.take(kept)


def _sequences(rows: CodedRows, log: Log) -> SequenceData:
    """Build sequences, with the remaining users and items renumbered in the order of their codes."""
    lengths = counted(rows.users, len(rows.user_ids))
    item_counts = counted(rows.items, len(rows.item_ids))
    users, items = np.flatnonzero(lengths), np.flatnonzero(item_counts)
    dense = np.cumsum(item_counts > 0, dtype=np.int32)
    return SequenceData(
        items=gathered(dense, rows.items),
        offsets=np.concatenate([[0], np.cumsum(lengths[users])]),
        item_ids=rows.item_ids.take(items),
        user_ids=rows.user_ids.take(users),
        times=None if rows.times is None else _whole(rows.times, log.ticks),
        name=log.name,
        cuts=None if rows.parts is None else cuts_of(rows)[:, users],
    )


def _whole(times: npt.NDArray[Any], ticks: int) -> IntArray:
    """Times rounded down from ticks to whole units."""
    found = empty(len(times), np.int64)
    for block in blocks(len(times)):
        found[block] = whole_times(times[block], ticks)
    return found
