"""TensorBoard: the training history as curves, in addition to ``history.jsonl``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mclrec.errors import ConfigError, unknown_name
from mclrec.training.reporting import EpochRecord

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["TRACKERS", "TensorBoardReporter", "check_tracker"]

TRACKERS = ("tensorboard",)
"""Names of the supported trackers."""

_SCALARS = (bool, int, float, str)
"""Types of settings by which TensorBoard compares runs."""


def check_tracker(name: str) -> None:
    """Refuse a tracker that is unknown or not installed.

    Raises:
        ConfigError: the tracker is unknown, or its package is missing.
    """
    if name not in TRACKERS:
        raise ConfigError(unknown_name("tracker", name, TRACKERS))
    if find_spec("tensorboard") is None:
        raise ConfigError('tracking needs tensorboard: pip install "mclrec[track]"')


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
        for summary in hparams(compared, {f"validation/{self._metric}": 0.0}):
            file.add_summary(summary)
        return writer
