"""The command line: ``python -m benchmarks list | run [ROW ...] [--quick] | logs [--only NAME] | report [--check]``."""

from __future__ import annotations

import math
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.logs.campaign import LOGS_FOLDER, QUICK_LOGS_FOLDER, measure_cells, read_cells
from benchmarks.logs.cells import plan
from benchmarks.logs.measuring import Laboratory, Limits
from benchmarks.logs.page import logs_page
from benchmarks.machine import available_cores, first_cores
from benchmarks.outcome import FULL_FOLDER, QUICK_FOLDER, read_results, write_result
from benchmarks.processes import BenchmarkError
from benchmarks.report import check_report, print_findings, write_report
from benchmarks.rows import ROWS, Part
from benchmarks.rows.cuda import require_cuda
from benchmarks.session import FULL, QUICK, Budget, Session

app = typer.Typer(
    help="Benchmarks: speed and memory beside other libraries.", no_args_is_help=True, add_completion=False
)
_console = Console(highlight=False)
if not _console.is_terminal:
    _console.width = 200  # do not wrap lines that go to a file


@app.command("list")
def list_rows() -> None:
    """List the rows. `run` without names runs those of the part `bench`."""
    for name, row in ROWS.items():
        _console.print(f"{name:16} {row.part:9} {row.title}", soft_wrap=True)


@app.command()
def run(
    rows: Annotated[list[str] | None, typer.Argument(help="Rows to run.", show_default=False)] = None,
    *,
    part: Annotated[Part, typer.Option(help="Part whose rows are run where none is named.")] = "bench",
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure less, in minutes; results go to a folder of their own.")
    ] = False,
    without_spill: Annotated[
        bool, typer.Option("--without-spill", help="Leave out the log that is larger than memory.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(help="Threads of every process; all cores if not given.")
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, writable=True, help="Directory for large temporary files."
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Recipe of MCLRec in the rows accuracy and cuda-accuracy.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Rows that have not begun after so many minutes are left out, and told."),
    ] = None,
    rounds: Annotated[int | None, typer.Option(hidden=True)] = None,
    batches: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure rows, by default all of the part `bench`, and write the results of each as soon as it ends."""
    names = rows or [name for name, row in ROWS.items() if row.part == part]
    for name in names:
        if name not in ROWS:
            raise typer.BadParameter(f"no row {name!r}: {', '.join(ROWS)}")
    budget = _budget(QUICK if quick else FULL, rounds, batches, without_spill)
    shortened = quick or rounds is not None or batches is not None
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=scratch) as directory:
        count = threads or available_cores()
        session = Session(budget, count, Path(directory), _console, recipe, first_cores(count))
        _check_device(names, session)
        until = math.inf if minutes is None else time.monotonic() + 60 * minutes
        failed = [name for name in names if not _measure(name, session, until, quick=shortened)]
    folder = QUICK_FOLDER if shortened else FULL_FOLDER
    results = read_results(folder)
    print_findings(_console, [results[name] for name in names if name not in failed])
    if failed:
        _console.print(f"failed: {', '.join(failed)}", style="bold red")
        raise typer.Exit(1)


@app.command()
def logs(
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="Logs and systems to measure; all if none is named."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each system that draws.")] = 3,
    box: Annotated[
        float,
        typer.Option(
            metavar="MINUTES", help="Processor time, for each thread, of a training that would take hours."
        ),
    ] = 30.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of every process.")] = 1,
    again: Annotated[bool, typer.Option("--again", help="Measure too what has a result.")] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="One seed, one epoch, a box of a minute; results go to a folder of their own."
        ),
    ] = False,
    scratch: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, writable=True, help="Directory for large temporary files."
        ),
    ] = None,
) -> None:
    """Measure systems at their defaults on logs; an interrupted campaign goes on where it was."""
    limits = Limits(min(box, 1.0), epochs=1) if quick else Limits(box)
    folder = QUICK_LOGS_FOLDER if quick else LOGS_FOLDER
    try:
        cells = plan(only or (), 1 if quick else seeds)
    except BenchmarkError as problem:
        raise typer.BadParameter(str(problem)) from None
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=scratch) as directory:
        session = Session(FULL, threads, Path(directory), _console)
        failed = measure_cells(cells, Laboratory(session, limits), folder, again=again)
    _console.print(logs_page(read_cells(folder)), markup=False, soft_wrap=True)
    if failed:
        _console.print(f"failed: {'; '.join(map(str, failed))}", style="bold red")
        raise typer.Exit(1)


@app.command()
def report(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail where a page is not what the results say.")
    ] = False,
) -> None:
    """Make the tables and plots of docs/performance.md and README.md from the full results."""
    try:
        if check:
            check_report()
        else:
            write_report()
    except BenchmarkError as problem:
        _console.print(str(problem), style="red", markup=False)
        raise typer.Exit(1) from None


def _budget(budget: Budget, rounds: int | None, batches: int | None, without_spill: bool) -> Budget:
    if rounds is not None:
        budget = replace(budget, rounds=rounds)
    if batches is not None:
        budget = replace(budget, batches=batches)
    return replace(budget, spilled_rows=None) if without_spill else budget


def _check_device(names: Sequence[str], session: Session) -> None:
    """Exit at once if a row needs a CUDA device and the machine has none."""
    if any(ROWS[name].part == "cuda" for name in names):
        try:
            _console.print(require_cuda(session), markup=False)
        except BenchmarkError as problem:
            _console.print(str(problem), style="red", markup=False)
            raise typer.Exit(1) from None


def _measure(name: str, session: Session, until: float, *, quick: bool) -> bool:
    """Run one row if time is left, and write its result file; return whether that succeeded."""
    row = ROWS[name]
    if time.monotonic() > until:
        _console.print(f"{name}: left out, the time is up", style="red")
        return False
    _console.rule(f"{name}: {row.title}", align="left")
    try:
        outcome = row.measure(session)
    except BenchmarkError as problem:
        _console.print(str(problem), style="red", markup=False)
        return False
    except Exception as problem:  # one failing row must not end the others
        _console.print(f"{type(problem).__name__}: {problem}", style="red", markup=False)
        return False
    write_result(name, row.title, outcome, session, quick=quick)
    return True


if __name__ == "__main__":
    # Exit with an exception, so that the child is killed and the scratch directory removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    app(prog_name="python -m benchmarks")
