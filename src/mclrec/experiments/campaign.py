"""Does the cells of a plan with several workers, shows how far it is, and stops when the budget is spent."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mclrec.experiments.cells import Cell, Cells, measured
from mclrec.experiments.worker import ERROR, in_process
from mclrec.runs.run import Run
from mclrec.runs.workers import Workers, is_held, usual_count
from mclrec.training.interrupt import StopRequest

__all__ = ["CellState", "Progress", "distinct", "look", "run_campaign"]

_POLL = 0.5


@dataclass(frozen=True, slots=True)
class CellState:
    """How far one cell is.

    Attributes:
        cell: which.
        state: open, running, done or failed.
        epochs: done so far.
        most: epochs at most.
        seconds: of the finished run, or so far.
        problem: why it failed.
    """

    cell: Cell
    state: str
    epochs: int = 0
    most: int = 0
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a campaign is.

    Attributes:
        cells: one state each.
        elapsed: seconds since its start.
        workers: processes at work.
    """

    cells: Sequence[CellState]
    elapsed: float
    workers: int

    def count(self, state: str) -> int:
        """How many cells are in a state."""
        return sum(cell.state == state for cell in self.cells)

    @property
    def complete(self) -> bool:
        """Whether all cells are done."""
        return self.count("done") == len(self.cells)

    @property
    def left(self) -> float | None:
        """Seconds to go, by the median of finished cells of the same model; None as long as there are none."""
        done = [cell for cell in self.cells if cell.state == "done"]
        if not done:
            return None
        total = 0.0
        for cell in self.cells:
            if cell.state in ("open", "running"):
                alike = [other.seconds for other in done if other.cell.model == cell.cell.model]
                expected = statistics.median(alike or [other.seconds for other in done])
                total += max(expected - cell.seconds, 0.0)
        return total / max(self.workers, 1)


def distinct(cells: Cells, wanted: Sequence[Cell]) -> list[Cell]:
    """Of cells that come to the same settings the first, to be measured in all ways that any of them asks for."""
    found: dict[str, Cell] = {}
    for cell in wanted:
        known = found.setdefault(cells.key(cell), cell)
        noise = dict.fromkeys([*known.noise, *cell.noise])
        found[cells.key(cell)] = replace(known, noise=tuple(noise))
    return list(found.values())


def run_campaign(
    cells: Cells,
    wanted: Sequence[Cell],
    *,
    workers: int | None = None,
    budget: float | None = None,
    show: Callable[[Progress], None] | None = None,
) -> Progress:
    """Do every cell that is not done yet.

    A cell that failed before is tried again. Ctrl-C, SIGTERM and the end of the budget let running cells write a
    checkpoint; the next call goes on from there.

    Args:
        cells: where runs are.
        wanted: what to do, most wanted first.
        workers: processes, which share the processor's cores; None for `usual_count`.
        budget: seconds after which it stops.
        show: told about progress twice a second.

    Returns:
        How far it came.
    """
    started = time.monotonic()
    todo = distinct(cells, wanted)
    for cell in todo:
        (cells.directory(cell) / ERROR).unlink(missing_ok=True)
    left = [cell for cell in todo if not cells.done(cell)]
    watch = _Watch(cells, todo)
    workers = max(1, min(workers or usual_count(), len(left)))
    arguments = (str(cells.folder), left, cells.track)
    with Workers(in_process, arguments, workers if left else 0) as team, StopRequest() as stop:
        while team.alive:
            elapsed = time.monotonic() - started
            if show:
                show(Progress(watch.states(), elapsed, workers))
            if stop.requested or (budget is not None and elapsed > budget):
                break
            time.sleep(_POLL)
    return Progress(watch.states(), time.monotonic() - started, workers)


def look(cells: Cells, cell: Cell) -> CellState:
    """How far a cell is, as its directory tells."""
    return _Watch(cells, [cell]).states()[0]


class _Watch:
    """Looks at directories; what is done once stays done, and settings are resolved once."""

    def __init__(self, cells: Cells, wanted: Sequence[Cell]) -> None:
        self._wanted = [(cell, cells.directory(cell), cells.recipe(cell).training.epochs) for cell in wanted]
        self._done: dict[Path, CellState] = {}

    def states(self) -> list[CellState]:
        """One a cell."""
        return [self._state(cell, directory, most) for cell, directory, most in self._wanted]

    def _state(self, cell: Cell, directory: Path, most: int) -> CellState:
        if directory in self._done:
            return self._done[directory]
        if measured(directory, cell.noise):
            record = Run(directory).record
            self._done[directory] = CellState(
                cell, "done", record["epochs"], record["epochs"], record["seconds"]
            )
            return self._done[directory]
        history = Run(directory).history
        seconds = sum(epoch["seconds"] for epoch in history)
        if (directory / ERROR).exists():
            problem = (directory / ERROR).read_text(encoding="utf-8").strip()
            return CellState(cell, "failed", len(history), most, seconds, problem)
        state = "running" if directory.exists() and is_held(directory) else "open"
        return CellState(cell, state, len(history), most, seconds)
