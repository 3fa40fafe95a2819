"""Labels of targets: values of a log column in the targets' rows, for which the log is read again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mclrec.data.columns import Columns
from mclrec.data.datasets import dataset, locate
from mclrec.data.foreign_errors import foreign_errors
from mclrec.data.origin import Reading
from mclrec.data.packed import IntArray
from mclrec.data.parts import read_parts
from mclrec.data.places import path_exists
from mclrec.data.readers import Log, read_log
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Targets
from mclrec.data.ties import whole_times
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError
from mclrec.wording import count_of

__all__ = ["TargetLabels", "read_labels"]

_BATCH = 1 << 18


@dataclass(frozen=True, slots=True)
class TargetLabels:
    """Values of a log column for M targets.

    Attributes:
        column: name of the column.
        values: value of each target, as text; None if the log has no value.
        ambiguous: number of targets whose user, item and time occur in several rows with different values; the first
            value is used.
    """

    column: str
    values: tuple[str | None, ...]
    ambiguous: int


def read_labels(targets: Targets, column: str, source: Any = None) -> TargetLabels:
    """Read the log of some targets again, with one more column.

    A row of the log belongs to a target if it has the same user, item and, if there are times, the same time in whole
    seconds (or whole units of the log).

    Args:
        targets: targets of data with a known origin.
        column: name of the column.
        source: the frame, for data from memory; otherwise unused.

    Raises:
        DataError: the log is gone or is not that of the targets, or it has no such column.
    """
    data = targets.data
    log, reading = _source(data, source)
    columns = replace(reading.columns or Columns(), label=column)
    reading = reading.model_copy(update={"columns": columns})
    engine = "spark" if isinstance(log, str) and "://" in log else None
    wanted = _TargetIndex(targets)
    read = read_parts if reading.in_parts else read_log
    with read(log, reading, engine=engine) as opened:
        for batch in _batches(opened):
            wanted.add(batch, opened.ticks)
        return wanted.labels(column, opened.place)


def _source(data: SequenceData, given: Any) -> tuple[Any, Reading]:
    """The source of the data's log, and its reading options."""
    if data.origin is None:
        raise DataError(f"{data.name}: came as arrays, which have only users, items and times")
    log = data.origin.source
    if log.kind == "dataset":
        return locate(log.place), log.reading.filled(dataset(log.place).reading)
    if log.kind == "memory":
        if given is None or isinstance(given, str | Path | SequenceData):
            raise DataError(f"{data.name}: came from memory; give the frame that has the column as data")
        return given, log.reading
    reading = log.reading if log.parts is None else log.reading.model_copy(update=dict(log.parts))
    here = log.path is not None and ("://" in log.path or path_exists(Path(log.path)))
    return log.path if here else log.place, reading


def _batches(log: Log) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a log in batches, in order if the log has one."""
    with tempfile.TemporaryDirectory(prefix="mclrec-") as folder, foreign_errors(log.place, "cannot be read"):
        path = Path(folder) / "rows.parquet"
        log.frame.sink_parquet(str(path))
        for part in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
            yield from pq.ParquetFile(part).iter_batches(_BATCH)


class _TargetIndex:
    """Targets indexed by user, item and time, and the values found for them."""

    def __init__(self, targets: Targets) -> None:
        data = targets.data
        self._users, self._items = data.user_ids, data.item_ids
        self._base = data.num_items + 1
        times = None if data.times is None else data.times[targets.places]
        self._times = times
        pairs = self._pairs(targets.users + 1, targets.items)
        self._rows: dict[tuple[int, int], list[int]] = {}
        for row, pair in enumerate(pairs.tolist()):
            key = (pair, 0 if times is None else int(times[row]))
            self._rows.setdefault(key, []).append(row)
        self._known = np.unique(pairs)
        self._values: list[str | None] = [None] * len(targets)
        self._seen = np.zeros(len(targets), dtype=np.bool_)
        self._ambiguous: set[int] = set()

    def add(self, batch: pa.RecordBatch, ticks: int) -> None:
        """Take the values of rows that belong to targets."""
        pairs = self._pairs(_dense(self._users, batch["user"]), _dense(self._items, batch["item"]))
        rows = np.flatnonzero(np.isin(pairs, self._known))
        if not len(rows):
            return
        times: npt.NDArray[Any] = np.zeros(len(rows), dtype=np.int64)
        if self._times is not None:
            times = whole_times(batch["time"].take(pa.array(rows)).to_numpy(zero_copy_only=False), ticks)
        labels = batch["label"].take(pa.array(rows)).to_pylist()
        for pair, time, label in zip(pairs[rows].tolist(), times.tolist(), labels, strict=True):
            for target in self._rows.get((pair, time), ()):
                self._take(target, label)

    def labels(self, column: str, place: str) -> TargetLabels:
        """The labels that were found.

        Raises:
            DataError: a target has no row, so this must be another log.
        """
        if lost := int(np.count_nonzero(~self._seen)):
            raise DataError(
                f"{place}: has no row for {lost:,} of {count_of(len(self._seen), 'target')}; is it the log that the "
                "run was trained on?"
            )
        return TargetLabels(column, tuple(self._values), len(self._ambiguous))

    def _take(self, target: int, label: str | None) -> None:
        if not self._seen[target]:
            self._seen[target], self._values[target] = True, label
        elif self._values[target] != label:
            self._ambiguous.add(target)

    def _pairs(self, users: IntArray, items: IntArray) -> IntArray:
        """A number for each pair of a user and an item; 0 if one of them is unknown."""
        return np.where((users > 0) & (items > 0), users * self._base + items, 0)


def _dense(ids: Vocabulary, column: pa.Array) -> IntArray:
    """Dense ids of a column; each distinct id is looked up once."""
    coded = column.dictionary_encode()
    found: IntArray = ids.dense_all(coded.dictionary.to_pylist())[
        coded.indices.to_numpy(zero_copy_only=False)
    ]
    return found
