"""Progress reporting during training: epoch records, the history file, and reporters, one for the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.text import Text

from mclrec.data.intake import Intake
from mclrec.data.intake_text import intake_warnings, summary
from mclrec.errors import ModelFileError
from mclrec.files import regular_file, write_text
from mclrec.json_files import parse_json
from mclrec.progress import Display, is_quiet
from mclrec.sealed_json import sealed, unsealed, validated
from mclrec.wording import count_of

__all__ = [
    "EpochRecord",
    "EpochStart",
    "ProgressReporter",
    "Reporter",
    "Reporters",
    "SilentReporter",
    "print_warnings",
    "read_history",
    "write_history",
]


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Record of one epoch: losses, validation metric, time.

    Attributes:
        phase: name of its phase.
        epoch: number of the epoch in the phase, from 1.
        seconds: seconds of training, without validation.
        losses: unweighted mean of each loss term over the steps of the epoch, by ``group/term``, or by ``term`` if the
            phase updates one group only.
        metrics: validation metric, if the phase validates.
        best: whether the epoch's weights are the best so far.
        learning_rates: learning rate of each parameter group in the last step.
    """

    phase: str
    epoch: int
    seconds: float
    losses: dict[str, float]
    metrics: dict[str, float]
    best: bool
    learning_rates: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpochStart:
    """Start of an epoch, as reported.

    Attributes:
        phase: name of its phase.
        epoch: number of the epoch in the phase, from 1.
        epochs: maximum number of epochs of the phase; early stopping may end it sooner.
        steps: number of batches of the epoch.
        done: number of batches that were finished before an interruption.
    """

    phase: str
    epoch: int
    epochs: int
    steps: int
    done: int = 0


def write_history(path: Path, records: Sequence[EpochRecord]) -> None:
    """Write all records as JSON lines with a checksum each, atomically, so that a resumed run has each epoch once."""
    write_text(path, "".join(json.dumps(sealed(asdict(record))) + "\n" for record in records))


def read_history(path: Path) -> list[EpochRecord]:
    """Read the records written by `write_history`; none if there is no file, as for a model without training phases.

    Raises:
        ModelFileError: the file is damaged or cannot be read.
    """
    if not path.exists():
        return []
    try:
        lines = regular_file(path, ModelFileError).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as problem:
        raise ModelFileError(f"{path}: cannot be read: {problem}") from None
    records = [_record(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]
    for number, (before, record) in enumerate(pairwise(records), start=2):
        if record.epoch != (before.epoch + 1 if record.phase == before.phase else 1):
            raise ModelFileError(
                f"{path}:{number}: epoch {record.epoch} follows epoch {before.epoch}: lines are missing"
            )
    return records


def _record(line: str, where: str) -> EpochRecord:
    found = unsealed(parse_json(line, where, ModelFileError), where, ModelFileError)
    return validated(EpochRecord, found, where, ModelFileError)


class Reporter(Protocol):
    """Interface of objects that receive the progress of a training; an exception that one raises ends the training."""

    def data_taken(self, intake: Intake) -> None:
        """Called when the data have been read and split, before a model is built."""

    def planned(self, lines: Sequence[str]) -> None:
        """Called before training with a readable description of what is going to be trained."""

    def epoch_started(self, start: EpochStart) -> None:
        """Called at the start of an epoch."""

    def stepped(self, losses: dict[str, float]) -> None:
        """Called after each batch; ``losses`` are means over the epoch so far."""

    def epoch_finished(self, record: EpochRecord) -> None:
        """Called at the end of an epoch, after its validation if the phase validates."""


class SilentReporter:
    """Reporter that ignores everything; base of reporters that need only some of the methods."""

    def data_taken(self, intake: Intake) -> None:
        """Ignore the summary of the data."""

    def planned(self, lines: Sequence[str]) -> None:
        """Ignore the plan."""

    def epoch_started(self, start: EpochStart) -> None:
        """Ignore the start of an epoch."""

    def stepped(self, losses: dict[str, float]) -> None:
        """Ignore a step."""

    def epoch_finished(self, record: EpochRecord) -> None:
        """Ignore the end of an epoch."""


class Reporters:
    """Passes progress on to several reporters, in order."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def data_taken(self, intake: Intake) -> None:
        """Pass on the summary of the data."""
        for reporter in self._reporters:
            reporter.data_taken(intake)

    def planned(self, lines: Sequence[str]) -> None:
        """Pass on the plan."""
        for reporter in self._reporters:
            reporter.planned(lines)

    def epoch_started(self, start: EpochStart) -> None:
        """Pass on the start of an epoch."""
        for reporter in self._reporters:
            reporter.epoch_started(start)

    def stepped(self, losses: dict[str, float]) -> None:
        """Pass on a step."""
        for reporter in self._reporters:
            reporter.stepped(losses)

    def epoch_finished(self, record: EpochRecord) -> None:
        """Pass on the end of an epoch."""
        for reporter in self._reporters:
            reporter.epoch_finished(record)


def print_warnings(intake: Intake, console: Console) -> None:
    """Print the warnings about a log, one per line."""
    for warned in intake_warnings(intake):
        console.print(Text.assemble(("warning: ", "yellow"), warned.text), soft_wrap=True)


class ProgressReporter:
    """Prints a summary of the data and a line for each finished epoch; bars show the current epoch and the whole phase.

    Within `mclrec.progress.quietly`, it prints only the warnings about the data.

    Args:
        console: console to print to.
        data: whether to print the data's summary and warnings, which are the same for all runs on the same data.
    """

    def __init__(self, console: Console, *, data: bool = True) -> None:
        self._console, self._data = console, data
        self._display = Display(console)
        self._whole: Any = None
        self._line: Any = None
        self._phase = ""

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.__exit__(kind, error, trace)

    def data_taken(self, intake: Intake) -> None:
        """Print how much was read, dropped and kept, and warnings."""
        if not self._data:
            return
        if not is_quiet():
            self._console.print(summary(intake), highlight=False, markup=False, soft_wrap=True)
        print_warnings(intake, self._console)

    def planned(self, lines: Sequence[str]) -> None:
        """Print the plan."""
        self._say(*lines)

    def epoch_started(self, start: EpochStart) -> None:
        """Reset the bar of the epoch and, at the beginning of a phase, that of the whole phase."""
        if self._line is None:
            self._whole, self._line = self._display.add(""), self._display.add("")
        before = (start.epoch - 1) * start.steps + start.done
        if start.phase != self._phase:
            self._phase = start.phase
            self._display.restart(self._whole, start.epochs * start.steps, before)
            note = f"at most {count_of(start.epochs, 'epoch')}"
            self._display.update(self._whole, description=start.phase, note=note)
        self._display.update(self._whole, completed=before, visible=True)
        self._display.restart(self._line, start.steps, start.done)
        self._display.update(self._line, description=f"{start.phase} epoch {start.epoch}")

    def stepped(self, losses: dict[str, float]) -> None:
        """Advance the bars."""
        self._display.update(self._whole, advance=1)
        text = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._display.update(self._line, advance=1, note=text)

    def epoch_finished(self, record: EpochRecord) -> None:
        """Print the line of the epoch, and hide the bars, since the epoch may have been the last one."""
        self._display.refresh()
        for line in (self._whole, self._line):
            self._display.update(line, visible=False)
        losses = "  ".join(f"{name} {value:.4f}" for name, value in record.losses.items())
        metric = "".join(f"  {name} {value:.4f}" for name, value in record.metrics.items())
        star = " *" if record.best else ""
        self._say(f"{record.phase} epoch {record.epoch:3d}  {record.seconds:6.1f} s  {losses}{metric}{star}")

    def _say(self, *lines: str) -> None:
        if not is_quiet():
            for line in lines:
                self._console.print(line, highlight=False, markup=False, soft_wrap=True)
