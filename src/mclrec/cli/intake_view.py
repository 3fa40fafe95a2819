"""View of an intake on the terminal: columns, sizes after each rule, measures, warnings."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from mclrec.cli.terminal import output, plain_table
from mclrec.data.intake import PART_NAMES, Counts, Intake, shortened
from mclrec.data.intake_text import intake_warnings, measure_lines
from mclrec.data.packed import IntArray
from mclrec.data.returns import PROTOCOLS, suited_protocol
from mclrec.data.watched_text import watched_lines
from mclrec.wording import percent

__all__ = ["intake_json", "print_view"]

_BARS = " ▁▂▃▄▅▆▇█"
_BINS = 24


def print_view(intake: Intake, lengths: IntArray) -> None:
    """Print an intake: columns, sizes after each rule, measures and warnings.

    Args:
        intake: what was read from the log, kept and dropped.
        lengths: lengths of the histories, drawn as a small histogram.
    """
    console = output()
    console.print(Text.assemble((intake.place, "bold"), f"  {intake.format}"), soft_wrap=True)
    if intake.columns:
        console.print()
        console.print(_columns(intake))
    console.print()
    console.print(_sizes(intake))
    console.print()
    console.print(_measures(intake, lengths))
    for warned in intake_warnings(intake):
        console.print()
        console.print(Text.assemble(("warning: ", "bold yellow"), warned.text))


def intake_json(intake: Intake, name: str) -> dict[str, Any]:
    """The intake with its warnings and the protocol that suits the log, for JSON."""
    return {
        "data": name,
        **intake.model_dump(mode="json"),
        "protocol": suited_protocol(intake.left.returns),
        "warnings": [warned._asdict() for warned in intake_warnings(intake)],
    }


def _columns(intake: Intake) -> Table:
    table = plain_table("role", "column", "a value", left=3)
    for column in intake.columns:
        table.add_row(column.role, column.name, "" if column.sample is None else column.sample)
    return table


def _sizes(intake: Intake) -> Table:
    parts = intake.parts
    table = plain_table("", "rows", "", "users", "items", "option")
    table.columns[-1].justify = "left"
    _add(table, "read", intake.read, intake.read, "")
    for step in intake.steps:
        _add(table, f"after {step.rule}", step.left, intake.read, step.option)
    if parts is not None:
        options = (
            shortened(parts.places[0]),
            *(f"--{name} {shortened(place)}" for name, place in parts.given),
        )
        for part, rows, option in zip(PART_NAMES, parts.rows, options, strict=True):
            _add(table, part, Counts(users=None, items=None, rows=rows), intake.read, option)
    return table


def _measures(intake: Intake, lengths: IntArray) -> Table:
    """Table of labelled measures, whose text wraps beside its label."""
    lines = dict(measure_lines(intake.left, intake.tie_order))
    span = "none; rows are in order"
    if intake.left.first is not None:
        span = f"{intake.left.first} to {intake.left.last}"
        span += "" if intake.dates is None else f", read from numbers of the form {intake.dates}"
    rows = {
        "times": span,
        "histories": f"{lines['histories']}\n{_drawn(lengths)}",
        "popularity": lines["popularity"],
        "returns": f"{lines['returns']}\n{PROTOCOLS[suited_protocol(intake.left.returns)].note}",
    }
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in [*watched_lines(intake.watched), *rows.items()]:
        table.add_row(label, text)
    return table


def _add(table: Table, label: str, counts: Counts, read: Counts, option: str) -> None:
    numbers = ["" if number is None else f"{number:,}" for number in (counts.users, counts.items)]
    share = "" if counts is read else percent(counts.rows / max(read.rows, 1))
    table.add_row(label, f"{counts.rows:,}", share, *numbers, option)


def _drawn(lengths: IntArray) -> str:
    """A one-line histogram, from the shortest history to the longest, on a logarithmic axis."""
    import numpy as np

    least, most = int(lengths.min()), int(lengths.max())
    edges = np.unique(np.geomspace(least, most + 1, _BINS + 1).round())
    counts = np.histogram(lengths, edges)[0]
    heights = np.ceil(counts / counts.max() * (len(_BARS) - 1)).astype(int)
    return f"{least} {''.join(_BARS[height] for height in heights)} {most}"
