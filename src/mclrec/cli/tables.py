"""What commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from mclrec.evaluation.protocol import Result
    from mclrec.runs.compare import Row
    from mclrec.runs.run import Run
    from mclrec.serving.predictor import Recommendation

__all__ = [
    "print_comparison",
    "print_datasets",
    "print_metrics",
    "print_model",
    "print_models",
    "print_recommendations",
    "print_result",
    "print_run",
    "print_sizes",
]


_WIDE = 1000
"""Columns where nobody looks: no line of a table is longer."""


def _table(*columns: str, left: int = 1, title: str | None = None) -> Table:
    """Table whose first ``left`` columns are text and the others numbers."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", overflow="fold")
    return table


def _console() -> Console:
    """Standard output, without markup, as ids may look like it; wide where it is no terminal: lines stay whole."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    return console


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
            Text(f"{row.metrics[name]:.4f}", style="bold" if row.metrics[name] == best[name] else "")
            for name in names
        ]
        tested = (
            ("", "")
            if row.p is None or row.difference is None
            else (f"{row.difference:+.4f}", f"{row.p:.4f}")
        )
        table.add_row(row.label, *cells, str(len(row.seeds)), *tested)
    _console().print(table)


def print_models(listing: Mapping[str, Mapping[str, Any]]) -> None:
    """The registry, as `mclrec.cli.catalogue.listing` gives it."""
    table = _table("name", "year", "family", "regimes", "paper", left=5)
    for name, entry in listing.items():
        regimes = ", ".join(entry["regimes"])
        table.add_row(name, str(entry["year"] or ""), entry["family"], regimes, entry["paper"])
    _console().print(table)


def print_model(about: Mapping[str, Any]) -> None:
    """One model's settings and recipes, as `mclrec.cli.catalogue.describe` gives them."""
    console = _console()
    console.print(f"{about['title']}: {about['paper']}")
    for title in ("settings", "training"):
        if about[title]:
            console.print()
            console.print(_settings_table(title, about[title]))
    console.print("\nrecipes", style="bold")
    for section, recipe in about["recipes"].items():
        changes = " ".join(f"{key}={_toml(value)}" for key, value in recipe["settings"].items())
        console.print(f"{section}: {recipe['source']}" + (f"\n  {changes}" if changes else ""))


def _settings_table(title: str, settings: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table(title, "default", "allowed", "", left=4)
    table.columns[0].no_wrap = True
    for key, about in settings.items():
        table.add_row(key, _toml(about["default"]), about["allowed"], about["description"])
    return table


def _toml(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


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
    rows = table5(data) if groups else [table2(data)]
    heading, title = ("length", data.name) if groups else ("data set", None)
    table = _table(heading, "#users", "#items", "#actions", "avg.length", "sparsity", title=title)
    for row in rows:
        table.add_row(
            row.name,
            str(row.users),
            str(row.items),
            str(row.actions),
            f"{row.average_length:.1f}",
            f"{row.sparsity:.2%}",
        )
    _console().print(table)
