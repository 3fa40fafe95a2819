"""Metrics by slices of the targets on the terminal: one table per slicing."""

from __future__ import annotations

from rich.table import Table

from mclrec.cli.terminal import output, plain_table
from mclrec.evaluation.protocol import Protocol
from mclrec.evaluation.slices import FEW, Slices, SliceValue, Slicing
from mclrec.wording import percent

__all__ = ["print_slices"]


def print_slices(slices: Slices, protocol: Protocol) -> None:
    """Print a table for each slicing: the first system with intervals, the means of the others, and notes."""
    console = output()
    for slicing in slices.slicings:
        title = f"{protocol.part}, by {slicing.title} ({protocol.label})"
        console.print(_table(slices, slicing, title))
        console.print()
    for note in slices.notes:
        console.print(note, style="dim", soft_wrap=True)


def _table(slices: Slices, slicing: Slicing, title: str) -> Table:
    own, *others = slices.systems
    main, *further = slices.metrics
    heads = [f"{own} {main}", "95 %", *(f"{own} {metric}" for metric in further)]
    table = plain_table("", "targets", "", *heads, *(f"{name} {main}" for name in others), title=title)
    for name, rows in slicing.slices():
        found = slices.of(slicing.key, name)
        first = found[own, main]
        cells = [_mean(first), _interval(first), *(_mean(found[own, metric]) for metric in further)]
        few = " *" if len(rows) < FEW else ""
        rest = (_mean(found[other, main]) for other in others)
        table.add_row(f"{name}{few}", f"{len(rows):,}", percent(first.share), *cells, *rest)
    return table


def _mean(value: SliceValue) -> str:
    return "none" if value.mean is None else f"{value.mean:.4f}"


def _interval(value: SliceValue) -> str:
    return "" if value.low is None or value.high is None else f"{value.low:.4f} to {value.high:.4f}"
