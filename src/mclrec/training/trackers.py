"""Experiment trackers: log a run's history to TensorBoard, MLflow or Weights & Biases, besides ``history.jsonl``."""

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
from mclrec.json_files import read_json, write_json
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
"""Types of settings that TensorBoard can compare runs by."""


class Tracker(SilentReporter):
    """Base of trackers, which log losses, validation metric, learning rates and seconds per epoch, and settings once.

    Steps are epochs, counted over all phases. A resumed run continues the tracker run of the interrupted one.

    Args:
        directory: folder for the tracker's files.
        settings: settings of model and training.
        metric: validation metric by which runs are compared.
        history: phase and epoch of each finished epoch of a resumed run.
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
        """Open the tracker at the first epoch."""
        self._ensure_open(self._step(start.phase, start.epoch))

    def epoch_finished(self, record: EpochRecord) -> None:
        """Log the values of the epoch."""
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
        """Exceptions of `write` that only cause a warning, such as those for a server that does not respond."""
        return ()

    @abstractmethod
    def open(self, step: int) -> None:
        """Open the tracker's output for steps from ``step`` on, and log the settings."""

    @abstractmethod
    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Log the values of a step."""

    @abstractmethod
    def close(self, *, failed: bool) -> None:
        """Close the output; ``failed`` says whether an exception ended the training."""

    def _ensure_open(self, step: int) -> None:
        if not self._is_open:
            self.open(step)
            self._is_open = True

    def _warn(self, problem: Exception) -> None:
        """Warn once that an epoch was not logged; it is in ``history.jsonl``."""
        if not self._warned:
            text = f"{self.directory.name} could not log an epoch, which is in history.jsonl: {problem}"
            warnings.warn(text, MclrecWarning, stacklevel=2)
            self._warned = True

    def _step(self, phase: str, epoch: int) -> int:
        """Number of an epoch, counted over all phases; the same if the epoch is repeated after a crash."""
        return self._steps.setdefault((phase, epoch), len(self._steps) + 1)


class TensorBoardTracker(Tracker):
    """Tracker that writes TensorBoard event files.

    A resumed run writes another file to the same folder, which replaces what the interrupted run wrote from that epoch
    on.
    """

    _writer: SummaryWriter

    def open(self, step: int) -> None:
        """Open the event file; log all settings as text, and scalar ones also as hyperparameters."""
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self._writer = SummaryWriter(str(self.directory), purge_step=step)
        rows = [f"| {key} | {value} |" for key, value in self.settings.items()]
        self._writer.add_text("settings", "\n".join(["| setting | value |", "| --- | --- |", *rows]), step)
        compared = {key: value for key, value in self.settings.items() if isinstance(value, _SCALARS)}
        # add_hparams would write to a subfolder, separate from the curves.
        file: Any = self._writer.file_writer  # its annotation says None
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
    """Tracker that writes an MLflow run to ``MLFLOW_TRACKING_URI``, or to a SQLite file in the run's directory.

    The experiment is ``MLFLOW_EXPERIMENT_NAME``, or mclrec by default. The id of the MLflow run is saved in the run's
    directory, so that a resumed run continues it.
    """

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """The client's exception for a server that does not respond or refuses a request."""
        from mlflow.exceptions import MlflowException

        return (MlflowException,)

    def open(self, step: int) -> None:  # noqa: ARG002 - `Tracker`
        """Create an MLflow run, or continue that of an interrupted training."""
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
            # MLflow does not allow @ in names: validation/ndcg_10.
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
            None
            if os.environ.get("MLFLOW_TRACKING_URI")
            else (self.directory / "artifacts").resolve().as_uri()
        )
        return str(found.experiment_id if found else self._client.create_experiment(name, artifacts))


class WandbTracker(Tracker):
    """Tracker that writes a Weights & Biases run, which stays in the run's directory until ``wandb sync``.

    With ``WANDB_MODE=online`` it is uploaded immediately. The project is ``WANDB_PROJECT``, or mclrec by default.
    """

    def open(self, step: int) -> None:  # noqa: ARG002 - `Tracker`
        """Begin a W&B run, or continue that of an interrupted training."""
        import wandb

        self.directory.mkdir(parents=True, exist_ok=True)
        kept = self.directory / "run.json"
        earlier = str(read_json(kept)["run_id"]) if kept.exists() else None
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "mclrec",
            name=self.directory.parent.name,
            id=earlier,
            resume="allow" if earlier else None,
            dir=str(self.directory.parent),  # wandb creates the folder "wandb" in it, which is self.directory
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
"""The feature that each tracker requires (see `extras`), and its class."""

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
    """Make the tracker of the given name, whose files are in a folder of that name in the run's directory."""
    return _TRACKERS[name][1](directory / name, settings, metric, history)
