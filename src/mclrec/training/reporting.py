"""Progress of a training: the record of an epoch, the history file, and reporters to the terminal."""

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
from mclrec.files import parse_json, regular_file, write_text
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


@dataclass(frozen=True, slots=True)
class EpochStart:
    """What is known of an epoch when it begins.

    Attributes:
        phase: name of its phase.
        epoch: from 1.
        epochs: of the phase, at most: early stopping may end it sooner.
        steps: batches of the epoch.
        done: those of them that were done before an interruption.
    """

    phase: str
    epoch: int
    epochs: int
    steps: int
    done: int = 0


def write_history(path: Path, records: Sequence[EpochRecord]) -> None:
    """Write all records as JSON lines with a checksum each, atomically: a resumed run has each epoch once."""
    write_text(path, "".join(json.dumps(sealed(asdict(record))) + "\n" for record in records))


def read_history(path: Path) -> list[EpochRecord]:
    """Read what `write_history` wrote; nothing where there is no file, as of a model that only counts.

    Raises:
        ModelFileError: the file is damaged.
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
                f"{path}:{number}: epoch {record.epoch} follows epoch {before.epoch}: lines are lost"
            )
    return records


def _record(line: str, where: str) -> EpochRecord:
    found = unsealed(parse_json(line, where, ModelFileError), where, ModelFileError)
    return validated(EpochRecord, found, where, ModelFileError)


class Reporter(Protocol):
    """Receives the progress of a training; an exception that it raises ends the training."""

    def data_taken(self, intake: Intake) -> None:
        """The data are read and split; nothing is built yet."""

    def planned(self, lines: Sequence[str]) -> None:
        """What is going to be trained, in lines for people, before it begins."""

    def epoch_started(self, start: EpochStart) -> None:
        """An epoch begins."""

    def stepped(self, losses: dict[str, float]) -> None:
        """One more batch is done; ``losses`` are means over the epoch so far."""

    def epoch_finished(self, record: EpochRecord) -> None:
        """An epoch is over and, if the phase validates, validated."""


class SilentReporter:
    """Reports nothing; base of reporters that need some of the methods."""

    def data_taken(self, intake: Intake) -> None:
        """Ignore what was read."""

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
        """Pass on what was read."""
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
    """Print the warnings about a log, a line each."""
    for warned in intake_warnings(intake):
        console.print(Text.assemble(("warning: ", "yellow"), warned.text), soft_wrap=True)


class ProgressReporter:
    """Prints what was read and a line for each finished epoch; bars show the running epoch and the whole phase.

    Within `mclrec.progress.quietly`, it prints warnings about the data alone.

    Args:
        console: to print to.
        data: whether to print what was read, which is the same for several runs on the same data.
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
        """Print what was read, dropped and left, and warnings."""
        if not self._data:
            return
        if not is_quiet():
            self._console.print(summary(intake), highlight=False, markup=False, soft_wrap=True)
        print_warnings(intake, self._console)

    def planned(self, lines: Sequence[str]) -> None:
        """Print the plan."""
        self._say(*lines)

    def epoch_started(self, start: EpochStart) -> None:
        """Reset the bar of the epoch; at the beginning of a phase, that of the whole phase too."""
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
        """Print the line of the epoch; the bars go, as it may have been the last one."""
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
