"""``mclrec reproduce``: a view of the campaign while it goes on, and its tables at the end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mclrec.cli.progress import live
from mclrec.experiments.campaign import Progress, look
from mclrec.experiments.cells import Cell, Cells
from mclrec.experiments.registry import SIZES, names
from mclrec.experiments.reproduce import Outcome, make_plan, reproduce
from mclrec.experiments.sheet import Sheet
from mclrec.experiments.target import Scope
from mclrec.runs.train import longest_time

__all__ = ["dry_run", "run"]

_SHOWN = 12
"""Lines of running and failed cells."""


def run(
    what: str, scope: Scope, out: Path, workers: int | None, budget: float | None, track: str | None = None
) -> int:
    """Do it; the exit status is 1 if a cell failed, 130 if it is not complete."""
    with live(_drawn, _over) as show:
        outcomes, progress = reproduce(
            what,
            scope,
            out,
            workers=workers,
            budget=None if budget is None else 60 * budget,
            show=show,
            track=track,
        )
    console = Console(highlight=False, markup=False)
    for outcome in outcomes:
        for sheet in outcome.sheets:
            console.print(_rendered(sheet))
            console.print()
    for state in progress.cells:
        if state.state == "failed":
            console.print(f"failed: {_name(state.cell)}: {state.problem.splitlines()[-1]}", style="red")
    _say_where(console, outcomes, progress, out)
    if progress.count("failed"):
        return 1
    return 0 if progress.complete else 130


def dry_run(what: str, scope: Scope, out: Path) -> None:
    """The plan, and how long each open cell takes at most on one worker, by the time of a few batches."""
    console = Console(highlight=False, markup=False)
    cells = Cells(out / "cells")
    plan = make_plan(what, scope, cells)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("cell", "state", "seconds at most"):
        table.add_column(column, justify="right" if column.startswith("seconds") else "left", overflow="fold")
    times: dict[str, float] = {}
    total = 0.0
    for cell in plan.cells:
        state = look(cells, cell)
        alike = f"{cell.data} {cell.model} {cell.recipe} {cell.settings} {cell.lengths}"
        if state.state == "open" and alike not in times:
            times[alike] = longest_time(cells.datasets.of(cell), cells.recipe(cell))
        seconds = times[alike] if state.state == "open" else 0.0
        total += seconds
        table.add_row(_name(cell), state.state, f"{seconds:.0f}")
    console.print(table)
    counted = [name for name in names(what) if name in SIZES]
    if counted:
        console.print(f"only counted, without runs: {', '.join(counted)}")
    console.print(
        f"{len(plan.cells)} cells; {_duration(total)} on one worker if none stops early, validation not counted"
    )


def _over(progress: Progress) -> tuple[int, dict[int, str]]:
    """A line for each cell that is over."""
    return len(progress.cells), {
        number: f"{_name(cell.cell)}: {cell.state}, {cell.epochs} epochs, {cell.seconds:.0f} s"
        for number, cell in enumerate(progress.cells)
        if cell.state in ("done", "failed")
    }


def _drawn(progress: Progress) -> RenderableType:
    done, failed = progress.count("done"), progress.count("failed")
    left = "?" if progress.left is None else _duration(progress.left)
    head = Text(
        f"{done} of {len(progress.cells)} cells done, {progress.count('running')} running, {failed} failed; "
        f"{_duration(progress.elapsed)} so far, {left} left",
        style="bold",
    )
    lines = [
        Text(
            f"  {_name(cell.cell)}: {cell.state}, epoch {cell.epochs} of at most {cell.most}",
            style="red" if cell.state == "failed" else "",
        )
        for cell in progress.cells
        if cell.state in ("running", "failed")
    ]
    return Group(head, *lines[:_SHOWN])


def _rendered(sheet: Sheet) -> RenderableType:
    table = Table(title=sheet.title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(sheet.columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for name, boxes in sheet.rows:
        table.add_row(
            name, *(Text(box.text, style={1: "bold", 2: "underline"}.get(box.rank, "")) for box in boxes)
        )
    return Group(table, *(Text(f"  {note}", style="dim") for note in sheet.notes))


def _say_where(console: Console, outcomes: Sequence[Outcome], progress: Progress, out: Path) -> None:
    for outcome in outcomes:
        console.print(f"{out / outcome.name}: tables.md, tables.tex")
    if not progress.complete:
        missing = len(progress.cells) - progress.count("done")
        console.print(
            f"{missing} of {len(progress.cells)} runs are not done; the same command goes on with them"
        )


def _name(cell: Cell) -> str:
    parts = [cell.data, cell.model, *([cell.recipe] if cell.recipe else [])]
    parts += [f"{name}={value}" for name, value in cell.settings.items()]
    if cell.lengths:
        parts.append(f"users with {cell.lengths[0]}-{cell.lengths[1] or ''}")
    return " ".join([*parts, f"seed {cell.seed}"])


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
