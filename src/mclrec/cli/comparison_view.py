"""A comparison of systems on the terminal: metrics, differences, and what may be claimed."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING

from rich.text import Text

from mclrec.cli.terminal import output, plain_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mclrec.runs.baselines import Score
    from mclrec.runs.comparison import Row

__all__ = ["print_comparison"]


def print_comparison(
    rows: Sequence[Row],
    label: str,
    metric: str,
    baselines: Sequence[Score] = (),
    console: Console | None = None,
    part: str = "test",
) -> None:
    """Print one row per system, with its difference to the first, what may be claimed, and what the protocol means.

    Args:
        rows: the systems.
        label: label of the protocol.
        metric: the metric that is tested.
        baselines: listed below the systems, except those that are systems themselves.
        console: to print on; standard output if None.
        part: which targets were ranked, test or validation.
    """
    from mclrec.data.returns import PROTOCOLS  # imports NumPy, which not every command needs
    from mclrec.runs.comparison import seeds_note

    console = console or output()
    title = f"{part}, {PROTOCOLS[label].title}"
    for table in _tables(console, [_measured(rows, baselines), _tested(rows, metric)], title):
        console.print(table)
    for row in rows:
        if row.claim is not None:
            console.print(f"{row.claim}.")
    for note in (seeds_note(rows), PROTOCOLS[label].note):
        if note is not None:
            console.print(note, style="dim")


Part = dict[str, list[str | Text]]
"""Columns of a table by heading; the first names the systems."""


def _tables(console: Console, parts: Sequence[Part], title: str) -> list[Table]:
    """One table with all parts side by side, or one table per part if the console is too narrow."""
    whole = _table(parts, title)
    unlimited = console.options.update(max_width=1000)  # a table is never measured wider than its console
    if console.measure(whole, options=unlimited).maximum <= console.width:
        return [whole]
    return [_table([part], title if part is parts[0] else None) for part in parts]


def _table(parts: Sequence[Part], title: str | None) -> Table:
    columns = parts[0] | {
        head: cells for part in parts[1:] for head, cells in part.items() if head != "system"
    }
    table = plain_table(*columns, title=title)
    for place in range(len(columns["system"])):
        table.add_row(*(cells[place] if place < len(cells) else "" for cells in columns.values()))
    return table


def _measured(rows: Sequence[Row], baselines: Sequence[Score]) -> Part:
    """Metrics of systems, the best ones bold, and of baselines."""
    labels = {row.label for row in rows}
    others = [score for score in baselines if score.model not in labels]
    columns: Part = {"system": [*(row.label for row in rows), *(score.model for score in others)]}
    widest = max(rows, key=lambda row: len(row.metrics))  # systems with short lists have fewer metrics
    for name in widest.metrics:
        values = [row.metrics.get(name) for row in rows]
        best = max(value for value in values if value is not None)
        columns[name] = [
            *(
                Text("-" if value is None else f"{value:.4f}", "bold" if value == best else "")
                for value in values
            ),
            *(f"{score.metrics.get(name, nan):.4f}" for score in others),
        ]
    return columns


def _tested(rows: Sequence[Row], metric: str) -> Part:
    """Interval, difference and p of the tested metric, and the corrected p where there are several comparisons."""
    from mclrec.evaluation.metrics import parse_metric
    from mclrec.evaluation.significance import p_text

    metric = str(parse_metric(metric))
    found = [row.finding for row in rows]
    columns: Part = {
        "system": [row.label for row in rows],
        "seeds": [str(len(row.seeds)) for row in rows],
        f"95 % of {metric}": [f"{row.interval.low:.4f} to {row.interval.high:.4f}" for row in rows],
        f"difference {metric}": [f"{one.effect.difference.mean:+.4f}" if one else "" for one in found],
        "p": [p_text(one.effect.p) if one else "" for one in found],
    }
    return columns | ({"p (Holm)": [one.p_text if one else "" for one in found]} if len(rows) > 2 else {})
