"""Trackers: a run's history as curves in TensorBoard, MLflow or Weights & Biases, beside ``history.jsonl``."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mclrec.arguments import check_choice
from mclrec.errors import ConfigError, MclrecWarning
from mclrec.extras import require
from mclrec.files import read_json, write_json
from mclrec.training.reporting import EpochRecord, EpochStart, SilentReporter

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = [
    "TRACKERS",
    "MLflowTracker",
    "TensorBoardTracker",
    "Tracker",
    "WandbTracker",
    "check_tracker",
    "tracker",
]

_SCALARS = (bool, int, float, str)
"""Types of settings by which trackers compare runs."""


class Tracker(SilentReporter):
    """Base of trackers: losses, validation metric, learning rates and seconds of each epoch, and the settings once.

    Steps are epochs, counted over all phases. A resumed run goes on in what the interrupted one has written.

    Args:
        directory: folder for what the tracker keeps.
        settings: settings of model and training.
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
        self.directory, self.settings, self.metric = directory, settings, metric
        self._steps = {epoch: number for number, epoch in enumerate(history, start=1)}
        self._is_open = self._warned = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            self.close(failed=error is not None)

    def epoch_started(self, start: EpochStart) -> None:
        """Open what is written to at the first epoch."""
        self._ensure_open(self._step(start.phase, start.epoch))

    def epoch_finished(self, record: EpochRecord) -> None:
        """Write the points of the epoch."""
        step = self._step(record.phase, record.epoch)
        self._ensure_open(step)
        scalars = {
            **{f"loss/{name}": value for name, value in record.losses.items()},
            **{f"validation/{name}": value for name, value in record.metrics.items()},
            **{f"learning_rate/{group}": value for group, value in record.learning_rates.items()},
            "seconds": record.seconds,
        }
        try:
            self.write(scalars, step)
        except self.errors as problem:
            self._warn(problem)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What writing may raise, as where a server does not answer: a warning, and no end of the training."""
        return ()

    @abstractmethod
    def open(self, step: int) -> None:
        """Open what is written to, from a step on, and write the settings."""

    @abstractmethod
    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Write the points of a step."""

    @abstractmethod
    def close(self, *, failed: bool) -> None:
        """Close what was opened; ``failed`` says whether the training ended by an exception."""

    def _ensure_open(self, step: int) -> None:
        if not self._is_open:
            self.open(step)
            self._is_open = True

    def _warn(self, problem: Exception) -> None:
        """Say once that epochs are missing; they are in ``history.jsonl``."""
        if not self._warned:
            text = f"{self.directory.name} did not take an epoch, which is in history.jsonl: {problem}"
            warnings.warn(text, MclrecWarning, stacklevel=2)
            self._warned = True

    def _step(self, phase: str, epoch: int) -> int:
        """Number of an epoch over all phases; the same if it is repeated after a crash."""
        return self._steps.setdefault((phase, epoch), len(self._steps) + 1)


class TensorBoardTracker(Tracker):
    """Tracker that writes event files of TensorBoard.

    A resumed run writes a further file in the same folder, which takes the place of what the interrupted one wrote from
    that epoch on.
    """

    _writer: SummaryWriter

    def open(self, step: int) -> None:
        """Open the event file; all settings are written as text, simple ones also for comparing runs."""
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self._writer = SummaryWriter(str(self.directory), purge_step=step)
        rows = [f"| {key} | {value} |" for key, value in self.settings.items()]
        self._writer.add_text("settings", "\n".join(["| setting | value |", "| --- | --- |", *rows]), step)
        compared = {key: value for key, value in self.settings.items() if isinstance(value, _SCALARS)}
        # add_hparams would make a folder of its own, in which the curves are not.
        file: Any = self._writer.file_writer  # typed as None
        for entry in hparams(compared, {f"validation/{self.metric}": 0.0}):
            file.add_summary(entry)

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Write the points of a step."""
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, step)
        self._writer.flush()

    def close(self, *, failed: bool) -> None:  # noqa: ARG002 - `Tracker`
        """Close the event file."""
        self._writer.close()


class MLflowTracker(Tracker):
    """Tracker that writes a run of MLflow: to ``MLFLOW_TRACKING_URI``, or to a SQLite file in the run's directory.

    The experiment is that of ``MLFLOW_EXPERIMENT_NAME``, or mclrec. Which run of MLflow belongs to the directory is
    kept there, so that a resumed run goes on in it.
    """

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the client raises where its server does not answer or refuses."""
        from mlflow.exceptions import MlflowException

        return (MlflowException,)

    def open(self, step: int) -> None:  # noqa: ARG002 - `Tracker`
        """Make a run, or take up that of an interrupted one."""
        from mlflow import MlflowClient
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        self.directory.mkdir(parents=True, exist_ok=True)
        kept = self.directory / "run.json"
        place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.directory.resolve() / 'mlflow.db'}"
        try:
            self._client = MlflowClient(place)
            if kept.exists():
                self._run = str(read_json(kept)["run_id"])
                self._client.update_run(self._run, status="RUNNING")
                return
            name = self.directory.parent.name
            self._run = self._client.create_run(self._experiment(), run_name=name).info.run_id
            settings = [Param(key, str(value)) for key, value in self.settings.items()]
            self._client.log_batch(self._run, params=settings)
        except MlflowException as problem:
            raise ConfigError(f"--track mlflow: {place}: {problem}") from None
        write_json(kept, {"run_id": self._run})

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Write the points of a step."""
        for tag, value in scalars.items():
            # MLflow's names have no @: validation/ndcg_10.
            self._client.log_metric(self._run, tag.replace("@", "_"), value, step=step)

    def close(self, *, failed: bool) -> None:
        """Say how the run has ended."""
        try:
            self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")
        except self.errors as problem:
            self._warn(problem)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "mclrec"
        found = self._client.get_experiment_by_name(name)
        artifacts = (
            None if "MLFLOW_TRACKING_URI" in os.environ else (self.directory / "artifacts").resolve().as_uri()
        )
        return str(found.experiment_id if found else self._client.create_experiment(name, artifacts))


class WandbTracker(Tracker):
    """Tracker that writes a run of Weights & Biases, which is kept in the run's directory until ``wandb sync``.

    It is sent at once where ``WANDB_MODE=online`` says so. The project is that of ``WANDB_PROJECT``, or mclrec.
    """

    def open(self, step: int) -> None:  # noqa: ARG002 - `Tracker`
        """Begin a run, or take up that of an interrupted one."""
        import wandb

        self.directory.mkdir(parents=True, exist_ok=True)
        kept = self.directory / "run.json"
        earlier = str(read_json(kept)["run_id"]) if kept.exists() else None
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "mclrec",
            name=self.directory.parent.name,
            id=earlier,
            resume="allow" if earlier else None,
            dir=str(self.directory.parent),  # in which it makes a folder of that name
            config=dict(self.settings),
            mode="online" if os.environ.get("WANDB_MODE") == "online" else "offline",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True),
        )
        write_json(kept, {"run_id": self._run.id})

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Write the points of a step."""
        self._run.log(dict(scalars), step=step)

    def close(self, *, failed: bool) -> None:
        """Say how the run has ended."""
        self._run.finish(exit_code=int(failed))


_TRACKERS: Mapping[str, tuple[str, type[Tracker]]] = {
    "tensorboard": ("tracking", TensorBoardTracker),
    "mlflow": ("tracking by MLflow", MLflowTracker),
    "wandb": ("tracking by Weights & Biases", WandbTracker),
}
"""The feature that a tracker needs (see `extras`), and the tracker."""

TRACKERS = tuple(_TRACKERS)
"""Names of the supported trackers."""


def check_tracker(name: str) -> None:
    """Refuse a tracker that is unknown or not installed.

    Raises:
        ConfigError: the tracker is unknown, or its package is missing.
    """
    check_choice("tracker", name, TRACKERS)
    require(_TRACKERS[name][0])


def tracker(
    name: str,
    directory: Path,
    settings: Mapping[str, Any],
    metric: str,
    history: Sequence[tuple[str, int]] = (),
) -> Tracker:
    """The tracker of a name, which keeps what it writes in a folder of that name in a run's directory."""
    return _TRACKERS[name][1](directory / name, settings, metric, history)
