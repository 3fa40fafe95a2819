"""What commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from mclrec.evaluation.protocol import Result
    from mclrec.runs.compare import Row
    from mclrec.runs.run import Run
    from mclrec.serving.predictor import Recommendation

__all__ = [
    "print_comparison",
    "print_datasets",
    "print_metrics",
    "print_models",
    "print_recommendations",
    "print_result",
    "print_run",
    "print_sizes",
]


def _table(*columns: str, left: int = 1, title: str | None = None) -> Table:
    """Table whose first ``left`` columns are text and the others numbers."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", overflow="fold")
    return table


def _console() -> Console:
    """Standard output; as wide as it must be where it is not a terminal, so that lines are not broken."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, 160))


def print_metrics(rows: Mapping[str, Mapping[str, float]], title: str | None = None) -> None:
    """One row of metrics a name."""
    names = list(next(iter(rows.values())))
    table = _table("", *names, title=title)
    for label, metrics in rows.items():
        table.add_row(label, *(f"{metrics[name]:.4f}" for name in names))
    _console().print(table)


def print_run(run: Run) -> None:
    """Test metrics of a run, and where it is."""
    record = run.record
    if run.metrics:
        print_metrics({f"test {label}": metrics for label, metrics in run.metrics.items()})
    chosen = f", best {record['best_epoch']}" if record["best_epoch"] else ""
    epochs = f"{record['epochs']} epochs{chosen}, " if record["epochs"] else ""
    _console().print(f"{run.directory}: {epochs}{record['seconds']} s")


def print_result(result: Result) -> None:
    """Metrics under one protocol, and what it means."""
    print_metrics({result.model: result.metrics})
    _console().print(f"{result.protocol.description}; {result.num_targets} targets")


def print_recommendations(found: Sequence[Recommendation]) -> None:
    """Rank, item, score."""
    table = _table("", "item", "score", left=2)
    for place, (item, score) in enumerate(found, start=1):
        table.add_row(str(place), str(item), f"{score:.3f}")
    _console().print(table)


def print_comparison(rows: Sequence[Row], label: str, metric: str) -> None:
    """One row a system; difference and p-value against the first."""
    names = list(rows[0].metrics)
    table = _table("system", *names, "seeds", f"difference {metric}", "p", title=f"test, protocol {label}")
    best = {name: max(row.metrics[name] for row in rows) for name in names}
    for row in rows:
        cells = [
            f"[bold]{row.metrics[name]:.4f}[/bold]"
            if row.metrics[name] == best[name]
            else f"{row.metrics[name]:.4f}"
            for name in names
        ]
        tested = (
            ("", "")
            if row.p is None or row.difference is None
            else (f"{row.difference:+.4f}", f"{row.p:.4f}")
        )
        table.add_row(row.label, *cells, str(len(row.seeds)), *tested)
    _console().print(table)


def print_models() -> None:
    """The registry."""
    from mclrec.models import registry

    table = _table("name", "year", "family", "regimes", "paper", left=5)
    for name in registry.names():
        entry = registry.entry(name)
        table.add_row(name, str(entry.year or ""), entry.family, ", ".join(entry.regimes), entry.paper)
    _console().print(table)


def print_datasets() -> None:
    """The named data sets."""
    from mclrec.data.sources import DATASETS

    table = _table("name", "users", "items", "interactions", "about")
    table.columns[-1].justify = "left"
    for name, known in DATASETS.items():
        table.add_row(name, f"{known.users:,}", f"{known.items:,}", f"{known.interactions:,}", known.about)
    _console().print(table)


def print_sizes(name: str, *, groups: bool) -> None:
    """The row of table 2, or the rows of table 5."""
    from mclrec.data.sources import load
    from mclrec.data.statistics import table2, table5

    data = load(name)
    table = _table(data.name, "#users", "#items", "#actions", "avg.length", "sparsity")
    for row in table5(data) if groups else [table2(data)]:
        table.add_row(
            row.name if groups else "",
            str(row.users),
            str(row.items),
            str(row.actions),
            f"{row.average_length:.1f}",
            f"{row.sparsity:.2%}",
        )
    _console().print(table)
