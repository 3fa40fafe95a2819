"""Measurements of finished runs, and tables of them in Markdown, LaTeX and Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mclrec.evaluation.metrics import CUTS, parse_metric, per_user
from mclrec.evaluation.significance import confidence_interval
from mclrec.randomness import Stream, generator
from mclrec.runs.run import LABELS

if TYPE_CHECKING:  # reading tables for a report needs no torch
    from mclrec.experiments.planned_runs import PlannedRun, RunStore

__all__ = [
    "METRICS",
    "Measurement",
    "PlannedRow",
    "ResultTable",
    "TableCell",
    "latex",
    "markdown",
    "measure",
    "pivot",
    "ranks_of",
    "student_quantile",
    "to_arrow",
]

METRICS = tuple(f"{name}@{cut}" for name in ("HR", "NDCG") for cut in CUTS)
"""Metrics of the paper's tables."""


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One row of a table, or one point of a figure, on one data set.

    Attributes:
        data: name of the data set.
        row: name of the row, or of the figure's line.
        runs: its runs, which differ only in seed.
        x: position on a figure's horizontal axis.
        part: part of the targets that is measured: ``test``, or a part with noise.
    """

    data: str
    row: str
    runs: Sequence[PlannedRun]
    x: float | None = None
    part: str = "test"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric of one row under one protocol.

    Attributes:
        data: name of the data set.
        row: name of the row.
        x: position on a figure's horizontal axis.
        protocol: U or F.
        metric: name of the metric, such as HR@5.
        mean: mean over seeds.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
        interval: what the interval is taken over: ``seeds`` (Student's t) or, with one seed, ``users`` (bootstrap).
        seeds: seeds of the runs.
        keys: keys of the runs; see `RunStore.kept_key`.
        part: part of the targets; see `PlannedRow`.
        paper: the paper's value, if it has one under this protocol.
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

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Measurement:
        """Make a measurement from its JSON object.

        Raises:
            KeyError, TypeError: it is not a measurement.
        """
        return cls(**{**row, "seeds": tuple(row["seeds"]), "keys": tuple(row["keys"])})


def measure(
    store: RunStore, rows: Iterable[PlannedRow], metrics: Sequence[str] = METRICS
) -> list[Measurement]:
    """Test metrics of all rows under both protocols, over the finished seeds; rows without any are left out."""
    found = []
    for row in rows:
        done = [planned for planned in row.runs if store.is_complete(planned)]
        for protocol in LABELS if done else ():
            found += [_measurement(store, row, done, protocol, metric) for metric in metrics]
    return found


def to_arrow(measurements: Sequence[Measurement]) -> pa.Table:
    """Measurements as an Arrow table, one per row; ``.to_pandas()`` converts it to a data frame."""
    names = [field.name for field in fields(Measurement)]
    rows = [asdict(row) for row in measurements]
    return pa.table({name: pa.array([_plain(row[name]) for row in rows]) for name in names})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _measurement(
    store: RunStore, row: PlannedRow, done: Sequence[PlannedRun], protocol: str, metric: str
) -> Measurement:
    name, cut = parse_metric(metric)
    values = np.stack(
        [per_user(store.run(planned).ranks(row.part, protocol).ranks, name, cut) for planned in done]
    )
    low, high = _interval(values)
    return Measurement(
        row.data,
        row.row,
        row.x,
        protocol,
        metric,
        float(values.mean()),
        low,
        high,
        "seeds" if len(done) > 1 else "users",
        tuple(planned.seed for planned in done),
        tuple(store.kept_key(planned) for planned in done),
        row.part,
    )


def _interval(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """95 % interval of the mean of (seeds, users) values."""
    if len(values) == 1:
        found = confidence_interval(values, generator(0, Stream.BOOTSTRAP))
        return found.low, found.high
    means = values.mean(1)
    half = student_quantile(len(means) - 1) * float(means.std(ddof=1)) / len(means) ** 0.5
    return float(means.mean()) - half, float(means.mean()) + half


_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom; the last is also used for more."""


def student_quantile(degrees: int) -> float:
    """97.5 % quantile of Student's t; above 10 degrees of freedom that of 10 is used, which is slightly too large."""
    return _STUDENT[min(degrees, len(_STUDENT)) - 1]


@dataclass(frozen=True, slots=True)
class TableCell:
    """One cell of a table.

    Attributes:
        text: printed text.
        rank: 1 for the best value of its column, 2 for the second best, 0 for all others.
        value: the number to sort by; None for text.
    """

    text: str
    rank: int = 0
    value: float | None = None


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A table with a title and notes.

    Attributes:
        title: what it shows.
        columns: names of the columns, the first of which holds the row names.
        rows: name and cells of each row.
        notes: printed below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[TableCell]]]
    notes: Sequence[str] = field(default=())

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> ResultTable:
        """Make a table from its JSON object, as `dataclasses.asdict` writes it."""
        rows = [(name, [TableCell(**cell) for cell in cells]) for name, cells in written["rows"]]
        return cls(written["title"], written["columns"], rows, written["notes"])


def pivot(title: str, measurements: Iterable[Measurement], notes: Sequence[str] = ()) -> ResultTable:
    """Make a table of measurements with a column per metric; the best two values of each column are marked.

    A cell reads ``mean ± half of the interval's width (paper's value)``.
    """
    by_row: dict[str, dict[str, Measurement]] = {}
    for found in measurements:
        name = found.row if found.x is None else f"{found.row} {found.x:g}"
        by_row.setdefault(name, {})[found.metric] = found
    metrics = list(dict.fromkeys(metric for row in by_row.values() for metric in row))
    ranks = {metric: ranks_of([row[metric].mean for row in by_row.values()]) for metric in metrics}
    rows = [
        (name, [_cell(row[metric], ranks[metric][place]) for metric in metrics])
        for place, (name, row) in enumerate(by_row.items())
    ]
    return ResultTable(
        title,
        ["", *metrics],
        rows,
        [*_shared_runs(by_row), *_interval_notes(by_row), *_paper_notes(by_row), *notes],
    )


def markdown(table: ResultTable) -> str:
    """Format a table as Markdown, with the best value of a column in bold and the second best underlined."""
    lines = [
        f"### {table.title}",
        "",
        f"| {' | '.join(table.columns)} |",
        "| --- " + "| ---: " * (len(table.columns) - 1) + "|",
        *(
            f"| {name} | {' | '.join(_marked(cell, '**{}**', '<u>{}</u>') for cell in cells)} |"
            for name, cells in table.rows
        ),
    ]
    if table.notes:
        lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def latex(table: ResultTable) -> str:
    r"""Format a table as LaTeX for booktabs, with the best value in ``\textbf`` and the second best underlined."""
    width = len(table.columns) - 1
    lines = [
        r"\begin{table}",
        rf"\caption{{{_escaped(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * width}}}",
        r"\toprule",
        " & ".join(_escaped(column) for column in table.columns) + r" \\",
        r"\midrule",
        *(
            " & ".join([_escaped(name), *(_in_latex(cell) for cell in cells)]) + r" \\"
            for name, cells in table.rows
        ),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"% {note}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def ranks_of(values: Sequence[float]) -> list[int]:
    """Rank each value: 1 for the highest, 2 for the second highest, else 0.

    Values equal to four decimals are tied; if all are tied, none is ranked.
    """
    rounded = [round(value, 4) for value in values]
    levels = sorted(set(rounded), reverse=True)[:2]
    return [levels.index(value) + 1 if value in levels and len(levels) > 1 else 0 for value in rounded]


def _shared_runs(by_row: Mapping[str, Mapping[str, Measurement]]) -> list[str]:
    """Notes on rows that resolve to the same settings and therefore share runs."""
    first: dict[tuple[str, ...], str] = {}
    notes = []
    for name, row in by_row.items():
        one = next(iter(row.values()))
        keys = (*one.keys, one.part)
        if keys in first:
            notes.append(f"{name} and {first[keys]} come to the same settings here: one run stands for both.")
        first.setdefault(keys, name)
    return notes


def _interval_notes(by_row: Mapping[str, Mapping[str, Measurement]]) -> list[str]:
    """Note that explains the ± sign."""
    kinds: dict[str, set[int]] = {}
    for found in (found for row in by_row.values() for found in row.values()):
        kinds.setdefault(found.interval, set()).add(len(found.seeds))
    several = kinds.get("seeds", {0})
    count = " to ".join(map(str, dict.fromkeys([min(several), max(several)])))
    texts = {
        "users": "one seed; ± is half of a 95 % bootstrap interval over users",
        "seeds": f"{count} seeds; ± is half of a 95 % interval (Student's t) over seeds",
    }
    return ["; ".join(texts[kind] for kind in sorted(kinds, reverse=True)) + "."]


def _paper_notes(by_row: Mapping[str, Mapping[str, Measurement]]) -> list[str]:
    """Note that explains values in brackets, if there are any."""
    printed = any(found.paper is not None for row in by_row.values() for found in row.values())
    return ["In brackets, the paper's value, where it is under this protocol."] * printed


def _cell(found: Measurement, rank: int) -> TableCell:
    half = (found.high - found.low) / 2
    text = f"{found.mean:.4f} ± {half:.4f}"
    if found.paper is not None:
        text += f" ({found.paper:.4f})"
    return TableCell(text, rank, found.mean)


def _marked(cell: TableCell, best: str, second: str) -> str:
    return {1: best, 2: second}.get(cell.rank, "{}").format(cell.text)


def _in_latex(cell: TableCell) -> str:
    text = _escaped(cell.text).replace("±", r"$\pm$")
    return {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(cell.rank, text)


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in text)
