"""A campaign: worker processes do the planned runs until all are done or the time is up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mclrec.errors import ModelFileError
from mclrec.experiments.planned_runs import (
    PlannedRun,
    RunStore,
    do_runs_in_process,
    failure_of,
    forget_failure,
)
from mclrec.locks import is_held
from mclrec.runs.run import Run
from mclrec.runs.workers import Workers, usual_count
from mclrec.training.checkpoint import StopRequest

__all__ = ["Progress", "RunState", "distinct", "run_campaign", "state_of"]

_POLL = 0.5


@dataclass(frozen=True, slots=True)
class RunState:
    """Progress of one run.

    Attributes:
        planned: the run.
        state: open, running, done or failed.
        epochs: number of epochs finished so far.
        max_epochs: largest number of epochs that its settings allow.
        seconds: duration of the finished run, or of its epochs so far.
        problem: why it failed; empty otherwise.
    """

    planned: PlannedRun
    state: str
    epochs: int = 0
    max_epochs: int = 0
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a campaign.

    Attributes:
        runs: the state of each run.
        elapsed: seconds since the start of the campaign.
        workers: number of worker processes.
    """

    runs: Sequence[RunState]
    elapsed: float
    workers: int

    def count(self, state: str) -> int:
        """Number of runs in a state."""
        return sum(run.state == state for run in self.runs)

    @property
    def complete(self) -> bool:
        """Whether all runs are done."""
        return self.count("done") == len(self.runs)

    @property
    def left(self) -> float | None:
        """Estimated seconds left, from the median time of finished runs, of the same model if any; None without any."""
        done = [run for run in self.runs if run.state == "done"]
        if not done:
            return None
        total = 0.0
        for run in self.runs:
            if run.state in ("open", "running"):
                alike = [other.seconds for other in done if other.planned.model == run.planned.model]
                expected = statistics.median(alike or [other.seconds for other in done])
                total += max(expected - run.seconds, 0.0)
        return total / max(self.workers, 1)


def distinct(store: RunStore, wanted: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Merge planned runs that resolve to the same settings; the merged run includes all noise and views requested."""
    found: dict[str, PlannedRun] = {}
    for planned in wanted:
        known = found.setdefault(store.key(planned), planned)
        noise = dict.fromkeys([*known.noise, *planned.noise])
        found[store.key(planned)] = replace(known, noise=tuple(noise), views=known.views or planned.views)
    return list(found.values())


def run_campaign(
    store: RunStore,
    wanted: Sequence[PlannedRun],
    *,
    workers: int | None = None,
    minutes: float | None = None,
    show: Callable[[Progress], None] | None = None,
) -> Progress:
    """Do all planned runs that are not done yet.

    A run that failed in an earlier call is tried again. On Ctrl-C, on SIGTERM and when the time is up, trainings in
    progress write a checkpoint, from which the next call resumes.

    Args:
        store: the run directories.
        wanted: the runs, most important first.
        workers: number of processes, which share the processor's cores; None for `usual_count`.
        minutes: time limit; None for none.
        show: called with the progress twice a second.

    Returns:
        The progress at the end.
    """
    started = time.monotonic()
    todo = distinct(store, wanted)
    for planned in todo:
        forget_failure(store.directory(planned))
    left = [planned for planned in todo if not store.is_complete(planned)]
    watch = _Watch(store, todo)
    workers = max(1, min(workers or usual_count(), len(left)))
    arguments = (str(store.folder), left, store.track)
    count = workers if left else 0
    with Workers(do_runs_in_process, arguments, count, len(left)) as team, StopRequest() as stop:
        while team.working():
            elapsed = time.monotonic() - started
            if show:
                show(Progress(watch.states(), elapsed, workers))
            if stop.requested or (minutes is not None and elapsed > 60 * minutes):
                break
            time.sleep(_POLL)
    return Progress(watch.states(), time.monotonic() - started, workers)


def state_of(store: RunStore, planned: PlannedRun) -> RunState:
    """Progress of one run, read from its directory."""
    return _Watch(store, [planned]).states()[0]


class _Watch:
    """Reads the progress of runs from their directories; finished runs are read, and settings resolved, only once."""

    def __init__(self, store: RunStore, wanted: Sequence[PlannedRun]) -> None:
        self._wanted = [
            (planned, store.directory(planned), store.recipe(planned).training.epochs) for planned in wanted
        ]
        self._done: dict[Path, RunState] = {}

    def states(self) -> list[RunState]:
        """The state of each run."""
        return [
            self._state(planned, directory, max_epochs) for planned, directory, max_epochs in self._wanted
        ]

    def _state(self, planned: PlannedRun, directory: Path, max_epochs: int) -> RunState:
        if directory in self._done:
            return self._done[directory]
        if planned.is_complete(directory):
            record = Run(directory).record
            self._done[directory] = RunState(planned, "done", record.epochs, record.epochs, record.seconds)
            return self._done[directory]
        history = _history(directory)
        seconds = sum(epoch["seconds"] for epoch in history)
        if (problem := failure_of(directory)) is not None:
            return RunState(planned, "failed", len(history), max_epochs, seconds, problem)
        state = "running" if is_held(directory) else "open"
        return RunState(planned, state, len(history), max_epochs, seconds)


def _history(directory: Path) -> list[dict[str, Any]]:
    """The epochs so far; empty if they cannot be read, which the run's worker reports when it resumes."""
    try:
        return Run(directory).history
    except ModelFileError:
        return []
