"""Progress of a training: the record of an epoch, the history file, and reporters to the terminal and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from mclrec.arguments import check_choice
from mclrec.data.intake import Intake
from mclrec.data.intake_text import intake_warnings, summary
from mclrec.errors import ModelFileError
from mclrec.extras import require
from mclrec.files import parse_json, regular_file, write_text
from mclrec.sealed_json import sealed, unsealed, validated

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = [
    "TRACKERS",
    "EpochRecord",
    "ProgressReporter",
    "Reporter",
    "Reporters",
    "SilentReporter",
    "TensorBoardReporter",
    "WarningReporter",
    "check_tracker",
    "print_warnings",
    "read_history",
    "write_history",
]

TRACKERS = ("tensorboard",)
"""Names of the supported trackers: a run's history as curves, in addition to ``history.jsonl``."""

_SCALARS = (bool, int, float, str)
"""Types of settings by which TensorBoard compares runs."""


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

    def epoch_started(self, phase: str, epoch: int, steps: int, done: int) -> None:
        """An epoch of ``steps`` batches begins, ``done`` of them before an interruption."""

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

    def data_taken(self, intake: Intake) -> None:
        """Pass on what was read."""
        for reporter in self._reporters:
            reporter.data_taken(intake)

    def planned(self, lines: Sequence[str]) -> None:
        """Pass on the plan."""
        for reporter in self._reporters:
            reporter.planned(lines)

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


class WarningReporter(SilentReporter):
    """Prints what is wrong with the data, and nothing else."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def data_taken(self, intake: Intake) -> None:
        """Print the warnings about what was read."""
        print_warnings(intake, self._console)


def print_warnings(intake: Intake, console: Console) -> None:
    """Print the warnings about a log, a line each."""
    for warned in intake_warnings(intake):
        console.print(Text.assemble(("warning: ", "yellow"), warned.text), soft_wrap=True)


class ProgressReporter:
    """Prints what was read, a line for each finished epoch, and on a terminal a progress bar for the running one.

    Args:
        console: to print to.
        data: whether to print what was read, which is the same for several runs on the same data.
    """

    def __init__(self, console: Console, *, data: bool = True) -> None:
        self._console, self._data = console, data
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

    def data_taken(self, intake: Intake) -> None:
        """Print what was read, dropped and left, and warnings."""
        if not self._data:
            return
        self._console.print(summary(intake), highlight=False, markup=False, soft_wrap=True)
        print_warnings(intake, self._console)

    def planned(self, lines: Sequence[str]) -> None:
        """Print the plan."""
        for line in lines:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

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


def check_tracker(name: str) -> None:
    """Refuse a tracker that is unknown or not installed.

    Raises:
        ConfigError: the tracker is unknown, or its package is missing.
    """
    check_choice("tracker", name, TRACKERS)
    require("tracking")


class TensorBoardReporter:
    """Reporter that writes losses, validation metric, learning rates and seconds of each epoch, and the settings once.

    Steps are epochs, counted over all phases. A resumed run writes a further file in the same folder, which takes
    the place of what the interrupted one wrote from that epoch on.

    Args:
        directory: folder for the event files.
        settings: settings of model and training; all are written as text, simple ones also for comparing runs.
        metric: validation metric, for comparing runs.
        history: phase and epoch of the finished epochs of a resumed run.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Any],
        metric: str,
        history: Sequence[tuple[str, int]] = (),
    ) -> None:
        self._directory, self._settings, self._metric = directory, settings, metric
        self._steps = {epoch: number for number, epoch in enumerate(history, start=1)}
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def data_taken(self, intake: Intake) -> None:
        """Ignore what was read: it is in the run's ``intake.json``."""

    def planned(self, lines: Sequence[str]) -> None:
        """Ignore the plan: the settings are written when the first epoch begins."""

    def epoch_started(self, phase: str, epoch: int, steps: int, done: int) -> None:  # noqa: ARG002 - `Reporter`
        """Open the event file at the first epoch."""
        if self._writer is None:
            self._writer = self._open(self._step(phase, epoch))

    def stepped(self, losses: dict[str, float]) -> None:
        """Ignore a step: a curve has one point an epoch."""

    def epoch_finished(self, record: EpochRecord) -> None:
        """Write the points of the epoch."""
        step = self._step(record.phase, record.epoch)
        writer = self._writer or self._open(step)
        self._writer = writer
        scalars = {
            **{f"loss/{name}": value for name, value in record.losses.items()},
            **{f"validation/{name}": value for name, value in record.metrics.items()},
            **{f"learning_rate/{group}": value for group, value in record.learning_rates.items()},
            "seconds": record.seconds,
        }
        for tag, value in scalars.items():
            writer.add_scalar(tag, value, step)
        writer.flush()

    def _step(self, phase: str, epoch: int) -> int:
        """Number of an epoch over all phases; the same if it is repeated after a crash."""
        return self._steps.setdefault((phase, epoch), len(self._steps) + 1)

    def _open(self, step: int) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        writer = SummaryWriter(str(self._directory), purge_step=step)
        rows = [f"| {key} | {value} |" for key, value in self._settings.items()]
        writer.add_text("settings", "\n".join(["| setting | value |", "| --- | --- |", *rows]), step)
        compared = {key: value for key, value in self._settings.items() if isinstance(value, _SCALARS)}
        # add_hparams would make a folder of its own, in which the curves are not.
        file: Any = writer.file_writer  # typed as None
        for entry in hparams(compared, {f"validation/{self._metric}": 0.0}):
            file.add_summary(entry)
        return writer
