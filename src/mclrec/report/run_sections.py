"""Report on runs: their metrics, learning curves, metrics by group of targets, example recommendations, origin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mclrec.data.packed import IntArray
from mclrec.data.sequences import SequenceData
from mclrec.errors import MclrecError
from mclrec.evaluation.metrics import FloatArray, per_user
from mclrec.evaluation.protocol import RankTable
from mclrec.evaluation.significance import confidence_interval
from mclrec.experiments.results_table import ResultTable, TableCell
from mclrec.randomness import Stream, generator
from mclrec.report.page import Section, write_page
from mclrec.report.plots import Point, grouped_bars, learning_curves, rank_histogram, to_svg
from mclrec.runs.comparison import Row, compare_runs
from mclrec.runs.remeasure import run_data
from mclrec.runs.run import LABELS, Run

__all__ = ["report_runs"]

_METRIC, _CUT = "ndcg", 10
_EXAMPLES = 5
_SHOWN = 10
_GROUPS = 4


def report_runs(directories: Sequence[Path], path: Path) -> Path:
    """Write the report on one run, or on several runs on the same data.

    Args:
        directories: of finished runs; all others are compared with the first.
        path: of the HTML file.

    Raises:
        ConfigError: an extra is not installed.
        ModelFileError: a run is missing, damaged or unfinished.
        EvaluationError: the runs rank different targets.
    """
    runs = _named([Run(Path(directory)) for directory in directories])
    first = next(iter(runs.values()))
    sections = [
        Section("Results", _protocols(first), [_comparison(directories, label) for label in LABELS]),
        _learning(runs),
        _groups(runs),
        _examples(runs),
        Section("Where the numbers come from", tables=[_provenance(runs)]),
    ]
    names = ", ".join(runs)
    return write_page(path, f"{names} on {first.info.data.name}", sections)


def _named(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by name of the model, or of the directory if several are of that model."""
    models = [run.info.model for run in runs]
    return {
        model if models.count(model) == 1 else run.directory.name: run
        for model, run in zip(models, runs, strict=True)
    }


def _protocols(run: Run) -> list[str]:
    results = run.record.test
    return [f"{results[label].protocol.description}." for label in LABELS if label in results]


def _comparison(directories: Sequence[Path], label: str) -> ResultTable:
    rows = compare_runs(directories, seen="keep" if label == "U" else "drop")
    metrics = list(rows[0].metrics)
    best = {metric: _ordered(row.metrics[metric] for row in rows) for metric in metrics}
    tested = len(rows) > 1
    return ResultTable(
        f"Test, protocol {label}",
        ["system", *metrics, *(["difference NDCG@10", "p"] if tested else [])],
        [(row.label, [*_metrics(row, best), *(_test(row) if tested else [])]) for row in rows],
        [f"Difference to {rows[0].label}; p by a paired bootstrap over users, two-sided."] if tested else [],
    )


def _ordered(values: Iterable[float]) -> list[float]:
    return sorted({round(value, 4) for value in values}, reverse=True)


def _metrics(row: Row, best: Mapping[str, list[float]]) -> list[TableCell]:
    cells = []
    for metric, value in row.metrics.items():
        place = best[metric].index(round(value, 4)) if len(best[metric]) > 1 else 2
        cells.append(TableCell(f"{value:.4f}", place + 1 if place < 2 else 0, value))
    return cells


def _test(row: Row) -> list[TableCell]:
    if row.difference is None or row.p is None:
        return [TableCell("", value=0.0), TableCell("", value=1.0)]
    return [TableCell(f"{row.difference:+.4f}", value=row.difference), TableCell(f"{row.p:.4f}", value=row.p)]


def _learning(runs: Mapping[str, Run]) -> Section:
    histories = {name: run.history for name, run in runs.items() if run.history}
    figures = [
        ("Validation metric by epoch", learning_curves(histories)),
        (
            "Ranks of the test targets",
            rank_histogram({name: run.ranks("test", "U").ranks for name, run in runs.items()}),
        ),
    ]
    pictures = [to_svg(figure, title) for title, figure in figures if figure]
    return Section(
        "Learning curves and ranks", ["Dots mark the chosen epochs. Ranks are under U."], pictures=pictures
    )


def _groups(runs: Mapping[str, Run]) -> Section:
    tables = {name: run.ranks("test", "U") for name, run in runs.items()}
    kinds: list[tuple[str, Callable[[RankTable], IntArray]]] = [
        ("items in the history", lambda table: table.history_lengths),
        ("popularity of the target in training", lambda table: table.popularity),
    ]
    pictures = []
    for title, of in kinds:
        values = {name: _by_quantile(table, of(table)) for name, table in tables.items()}
        pictures.append(to_svg(grouped_bars(values, title, f"NDCG@{_CUT} (U)"), f"NDCG@{_CUT} by {title}"))
    return Section(
        "Metrics by history length and popularity",
        ["Quarters of the targets; 95 % bootstrap intervals."],
        pictures=pictures,
    )


def _by_quantile(table: RankTable, values: IntArray) -> dict[str, Point]:
    """Mean of the metric over each quarter of the targets, ordered by a number that each target has."""
    gains: FloatArray = per_user(table.ranks, _METRIC, _CUT)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _GROUPS + 1), method="nearest"))
    found = {}
    for number, low in enumerate(edges[:-1] if len(edges) > 1 else edges):
        last = number >= len(edges) - 2
        high = edges[-1] if last else edges[number + 1] - 1
        chosen = (values >= low) & (values <= high)
        label = f"{low}" if low == high else f"{low}-{high}"
        if chosen.any():
            found[label] = Point(*confidence_interval(gains[chosen], generator(0, Stream.BOOTSTRAP)))
    return found


def _examples(runs: Mapping[str, Run]) -> Section:
    """Recommendations of the last run for some users, drawn at random."""
    title = "Examples"
    name, run = list(runs.items())[-1]
    try:
        data = run_data(run)
    except MclrecError as problem:
        return Section(title, [f"None: the data cannot be read ({problem})"])
    table = run.ranks("test", "F")
    chosen = np.sort(
        generator(0, Stream.BOOTSTRAP).choice(len(table), min(_EXAMPLES, len(table)), replace=False)
    )
    rows = [_example(run, data, table, int(place)) for place in chosen]
    columns = [
        "user",
        f"last {_SHOWN} items, newest last",
        f"{_SHOWN} recommendations of {name}",
        "next item",
        "rank",
    ]
    return Section(
        title,
        [f"{len(rows)} users drawn at random. Items of the history are not recommended (F)."],
        [ResultTable("Histories and recommendations", columns, rows)],
    )


def _example(run: Run, data: SequenceData, table: RankTable, place: int) -> tuple[str, list[TableCell]]:
    user = data.user_ids.dense(table.users[place])
    items = [data.item_ids[int(item)] for item in data.sequence(user - 1)]
    end = len(items) - 1 - items[::-1].index(table.items[place])
    found = run.model.recommend(items[:end], k=_SHOWN)
    rank = int(table.ranks[place])
    return str(table.users[place]), [
        TableCell(", ".join(str(item) for item in items[max(end - _SHOWN, 0) : end])),
        TableCell(", ".join(str(item) for item, _ in found)),
        TableCell(str(table.items[place])),
        TableCell(str(rank), 1 if rank <= _SHOWN else 0, rank),
    ]


def _provenance(runs: Mapping[str, Run]) -> ResultTable:
    columns = ["run", "command", "recipe", "seed", "data", "epochs", "seconds, threads", "versions"]
    rows = []
    for name, run in runs.items():
        info, record = run.info, run.record
        texts = [
            info.command,
            f"{info.recipe.section}: {info.recipe.source}",
            str(info.seed),
            f"{info.data.name} {info.data.fingerprint[:12]}",
            f"{record.best_epoch} of {record.epochs}" if record.epochs else "-",
            f"{record.seconds}, {record.threads}",
            " ".join(f"{library} {version}" for library, version in info.versions.items()),
        ]
        rows.append((name, [TableCell(text) for text in texts]))
    return ResultTable("Runs", columns, rows)
