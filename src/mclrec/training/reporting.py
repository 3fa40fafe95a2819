"""Progress of a training: the record of an epoch, the history file, and reporters of steps and epochs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from mclrec.files import write_text

__all__ = ["EpochRecord", "ProgressReporter", "Reporter", "Reporters", "SilentReporter", "write_history"]


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Record of one epoch: losses, validation metric, time.

    Attributes:
        phase: name of its phase.
        epoch: from 1.
        seconds: seconds of training, validation not counted.
        losses: mean of each loss term over the steps of the epoch, by ``group/term``, without its weight.
        metrics: validation metric, if the phase validates.
        best: whether that is the best so far.
        learning_rates: learning rate of each parameter group.
    """

    phase: str
    epoch: int
    seconds: float
    losses: dict[str, float]
    metrics: dict[str, float]
    best: bool
    learning_rates: dict[str, float] = field(default_factory=dict)


def write_history(path: Path, records: Sequence[EpochRecord]) -> None:
    """Write all records as JSON lines, atomically: a resumed run has each epoch once."""
    write_text(path, "".join(json.dumps(asdict(record)) + "\n" for record in records))


class Reporter(Protocol):
    """Receives the progress of a training; an exception that it raises ends the training."""

    def epoch_started(self, phase: str, epoch: int, steps: int, done: int) -> None:
        """An epoch of ``steps`` batches begins, ``done`` of them before an interruption."""

    def stepped(self, losses: dict[str, float]) -> None:
        """One more batch is done; ``losses`` are means over the epoch so far."""

    def epoch_finished(self, record: EpochRecord) -> None:
        """An epoch is over and, if the phase validates, validated."""


class SilentReporter:
    """Reports nothing; base of reporters that need some of the methods."""

    def epoch_started(self, phase: str, epoch: int, steps: int, done: int) -> None:
        """Ignore the start of an epoch."""

    def stepped(self, losses: dict[str, float]) -> None:
        """Ignore a step."""

    def epoch_finished(self, record: EpochRecord) -> None:
        """Ignore the end of an epoch."""


class Reporters:
    """Passes progress on to several reporters, in order."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def epoch_started(self, phase: str, epoch: int, steps: int, done: int) -> None:
        """Pass on the start of an epoch."""
        for reporter in self._reporters:
            reporter.epoch_started(phase, epoch, steps, done)

    def stepped(self, losses: dict[str, float]) -> None:
        """Pass on a step."""
        for reporter in self._reporters:
            reporter.stepped(losses)

    def epoch_finished(self, record: EpochRecord) -> None:
        """Pass on the end of an epoch."""
        for reporter in self._reporters:
            reporter.epoch_finished(record)


class ProgressReporter:
    """Prints a line for each finished epoch, and on a terminal a progress bar for the running one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            # In a narrow window this column gives way, and not the bar.
            TextColumn("{task.fields[losses]}", table_column=Column(ratio=1, no_wrap=True)),
            console=console,
            expand=True,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", losses="", visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def epoch_started(self, phase: str, epoch: int, steps: int, done: int) -> None:
        """Reset the progress bar."""
        self._progress.reset(self._task, total=steps, completed=done, losses="", visible=True)
        self._progress.update(self._task, description=f"{phase} epoch {epoch}")

    def stepped(self, losses: dict[str, float]) -> None:
        """Advance the progress bar."""
        text = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._progress.update(self._task, advance=1, losses=text)

    def epoch_finished(self, record: EpochRecord) -> None:
        """Print the line of the epoch."""
        losses = "  ".join(f"{name} {value:.4f}" for name, value in record.losses.items())
        metric = "".join(f"  {name} {value:.4f}" for name, value in record.metrics.items())
        star = " *" if record.best else ""
        self._console.print(
            f"{record.phase} epoch {record.epoch:3d}  {record.seconds:6.1f} s  {losses}{metric}{star}",
            highlight=False,
            soft_wrap=True,
        )
