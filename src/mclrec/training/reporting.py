"""What a run says while it goes on."""

from __future__ import annotations

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

from mclrec.training.history import EpochRecord

__all__ = ["ProgressReporter", "Reporter", "Reporters", "SilentReporter"]


class Reporter(Protocol):
    """Told about epochs and steps. What it raises ends the training."""

    def epoch_started(self, phase: str, epoch: int, steps: int, done: int) -> None:
        """An epoch of ``steps`` batches begins, ``done`` of them before an interruption."""

    def stepped(self, losses: dict[str, float]) -> None:
        """One batch is done; running means of the losses."""

    def epoch_finished(self, record: EpochRecord) -> None:
        """An epoch is over and, where the phase validates, measured."""


class SilentReporter:
    """Says nothing."""

    def epoch_started(self, phase: str, epoch: int, steps: int, done: int) -> None:
        """See `Reporter`."""

    def stepped(self, losses: dict[str, float]) -> None:
        """See `Reporter`."""

    def epoch_finished(self, record: EpochRecord) -> None:
        """See `Reporter`."""


class Reporters:
    """Several reporters, told one after the other."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def epoch_started(self, phase: str, epoch: int, steps: int, done: int) -> None:
        """See `Reporter`."""
        for reporter in self._reporters:
            reporter.epoch_started(phase, epoch, steps, done)

    def stepped(self, losses: dict[str, float]) -> None:
        """See `Reporter`."""
        for reporter in self._reporters:
            reporter.stepped(losses)

    def epoch_finished(self, record: EpochRecord) -> None:
        """See `Reporter`."""
        for reporter in self._reporters:
            reporter.epoch_finished(record)


class ProgressReporter:
    """A line for each epoch that is over, and on a terminal a progress bar for the running one."""

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
        """See `Reporter`."""
        self._progress.reset(self._task, total=steps, completed=done, losses="", visible=True)
        self._progress.update(self._task, description=f"{phase} epoch {epoch}")

    def stepped(self, losses: dict[str, float]) -> None:
        """See `Reporter`."""
        text = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._progress.update(self._task, advance=1, losses=text)

    def epoch_finished(self, record: EpochRecord) -> None:
        """See `Reporter`."""
        losses = "  ".join(f"{name} {value:.4f}" for name, value in record.losses.items())
        metric = "".join(f"  {name} {value:.4f}" for name, value in record.metrics.items())
        star = " *" if record.best else ""
        self._console.print(
            f"{record.phase} epoch {record.epoch:3d}  {record.seconds:6.1f} s  {losses}{metric}{star}",
            highlight=False,
            soft_wrap=True,
        )
