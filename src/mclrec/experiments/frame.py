"""What a target gave, one row a measurement: the same for tables, plots and data frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa

from mclrec.evaluation.metrics import CUTS, parse_metric, per_user
from mclrec.evaluation.significance import confidence_interval
from mclrec.experiments.cells import Cell, Cells
from mclrec.randomness import Stream, generator
from mclrec.runs.run import LABELS

__all__ = ["METRICS", "Entry", "Measurement", "measure", "to_arrow"]

METRICS = tuple(f"{name}@{cut}" for name in ("HR", "NDCG") for cut in CUTS)
"""What the paper's tables report."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One point of a figure or one row of a table, on one data set.

    Attributes:
        data: name of the data set.
        row: what it is called.
        cells: its runs, which differ in seed.
        x: where it stands in a figure.
        part: which ranks of the runs: of the test targets, or of the same behind noise.
    """

    data: str
    row: str
    cells: Sequence[Cell]
    x: float | None = None
    part: str = "test"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A metric of an entry.

    Attributes:
        data: name of the data set.
        row: name of the entry.
        x: where it stands in a figure.
        protocol: U or F.
        metric: HR@5 and so on.
        mean: over seeds.
        low: of the 95 % interval.
        high: of the 95 % interval.
        interval: what it is over: ``seeds`` (Student's t) or, for one seed, ``users`` (bootstrap).
        seeds: which.
        keys: of the cells.
        part: which of their ranks; see `Entry`.
        paper: the paper's value, where it has one under this protocol.
    """

    data: str
    row: str
    x: float | None
    protocol: str
    metric: str
    mean: float
    low: float
    high: float
    interval: str
    seeds: tuple[int, ...]
    keys: tuple[str, ...]
    part: str = "test"
    paper: float | None = None


def measure(cells: Cells, entries: Iterable[Entry], metrics: Sequence[str] = METRICS) -> list[Measurement]:
    """Test metrics of all entries under both protocols, over the seeds that are done; none for entries without."""
    found = []
    for entry in entries:
        done = [cell for cell in entry.cells if cells.done(cell)]
        for protocol in LABELS if done else ():
            found += [_measurement(cells, entry, done, protocol, metric) for metric in metrics]
    return found


def to_arrow(measurements: Sequence[Measurement]) -> pa.Table:
    """As a table; ``.to_pandas()`` makes a data frame of it."""
    names = [field.name for field in fields(Measurement)]
    rows = [asdict(row) for row in measurements]
    return pa.table({name: pa.array([_plain(row[name]) for row in rows]) for name in names})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _measurement(cells: Cells, entry: Entry, done: Sequence[Cell], protocol: str, metric: str) -> Measurement:
    name, cut = parse_metric(metric)
    values = np.stack(
        [per_user(cells.run(cell).ranks(entry.part, protocol).ranks, name, cut) for cell in done]
    )
    low, high = _interval(values)
    return Measurement(
        entry.data,
        entry.row,
        entry.x,
        protocol,
        metric,
        float(values.mean()),
        low,
        high,
        "seeds" if len(done) > 1 else "users",
        tuple(cell.seed for cell in done),
        tuple(cells.key(cell) for cell in done),
        entry.part,
    )


def _interval(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """95 % of the mean of (seeds, users) values."""
    if len(values) == 1:
        found = confidence_interval(values, generator(0, Stream.BOOTSTRAP))
        return found.low, found.high
    means = values.mean(1)
    half = _STUDENT[min(len(means) - 1, len(_STUDENT)) - 1] * float(means.std(ddof=1)) / len(means) ** 0.5
    return float(means.mean()) - half, float(means.mean()) + half


_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom; the last for more."""
