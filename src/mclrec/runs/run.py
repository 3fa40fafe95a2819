"""A run: its directory, and the contents of its files as frozen types."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, cast

from pydantic import BaseModel, model_validator

from mclrec.arguments import check_choice, path_of
from mclrec.data.intake import Intake
from mclrec.data.origin import Origin
from mclrec.data.split import EVERYTHING
from mclrec.errors import ConfigError, DataError, EvaluationError, ModelFileError
from mclrec.evaluation.protocol import LABEL_OF, RankTable, Seen, load_ranks
from mclrec.models.directory import CONFIG, METRICS, check_weights, read_config, read_metrics
from mclrec.runs.file_record import Calibration, FileRecord
from mclrec.runs.intake_file import read_intake
from mclrec.sealed_json import validated
from mclrec.training.reporting import read_history
from mclrec.wording import count_of

if TYPE_CHECKING:
    from mclrec.inference.model import Model

__all__ = [
    "LABELS",
    "DataInfo",
    "MeasuredBy",
    "MeasuredPart",
    "RecipeInfo",
    "Run",
    "RunInfo",
    "RunRecord",
    "check_seen",
    "open_run",
    "ranks_path",
]

LABELS = ("U", "F")
"""Labels of the protocols under which every run is measured."""

_FORMAT_KEYS = {"format", "model", "config", "num_items", "num_users"}

Stored = TypeVar("Stored", bound=BaseModel)


class RecipeInfo(FileRecord):
    """The recipe of a run: its section or file, and the source of its settings."""

    section: str
    source: str


class DataInfo(Origin):
    """The data that a run was trained on: name, origin and fingerprint."""

    name: str


class MeasuredBy(FileRecord):
    """The measured run behind a final model, from which its settings and number of epochs are taken.

    Attributes:
        run: absolute path of its directory.
        weights: checksum of the weights that were measured.
        split: rule by which it held targets out.
        best_epoch: epoch that validation chose; 0 for a model that only counts.
        metric: validation metric.
        best_validation: value of that metric in the best epoch; None if there was no validation.
        test: test metrics by label of the protocol; empty if it was not measured on the test targets.
    """

    run: str
    weights: str
    split: str
    best_epoch: int
    metric: str
    best_validation: float | None
    test: dict[str, dict[str, float]]


class RunInfo(FileRecord):
    """Contents of ``config.json``: everything that determined a run.

    Attributes:
        format: version of the directory's layout.
        model: name of the model in the registry.
        config: settings of the model.
        num_items: V, the size of its catalogue.
        num_users: U for a model that has user vectors, else 0.
        recipe: section or file, and source of the settings.
        training: settings of the training.
        seed: seed of everything random.
        split: rule by which targets were held out; ``everything`` for a final model, which holds nothing out.
        warm_start: directory of the earlier model that training started from; None if there was none.
        data: name, origin and fingerprint of the data.
        command: command line that repeats the run.
        versions: versions of Python and of the libraries.
        measured_by: for a final model, the run that was measured in its place; None for all other runs.
    """

    may_lack: ClassVar[frozenset[str]] = frozenset({"measured_by"})

    format: int
    model: str
    config: dict[str, Any]
    num_items: int
    num_users: int
    recipe: RecipeInfo
    training: dict[str, Any]
    seed: int
    split: str
    warm_start: str | None
    data: DataInfo
    command: str
    versions: dict[str, str]
    measured_by: MeasuredBy | None = None

    def refuse_final(self, place: object, why: str) -> None:
        """Refuse a final model where a measured run is needed.

        Raises:
            EvaluationError: this is a final model; the message names the measured run.
        """
        if self.measured_by is not None:
            raise EvaluationError(
                f"{place}: is a final model, which learnt from all interactions{why}; {self.measured_by.run} "
                "was measured in its place"
            )

    def extra(self) -> dict[str, Any]:
        """The fields that a run adds to the configuration that every model directory has."""
        return self.model_dump(mode="json", exclude=_FORMAT_KEYS)

    @model_validator(mode="after")
    def _check_measured_by(self) -> Self:
        if (self.split == EVERYTHING) != (self.measured_by is not None):
            raise ValueError(f"split {self.split} does not match its measured_by: one of them is lost")
        return self


class ProtocolInfo(FileRecord):
    """Rules of a measurement: those of `mclrec.evaluation.protocol.Protocol`, with label and description."""

    label: Literal["U", "F"]
    part: str
    seen: Seen
    split: str
    candidates: str
    description: str


class MeasuredPart(FileRecord):
    """Metrics on one part of the targets under one protocol; see `mclrec.evaluation.protocol.Result.to_json`."""

    model: str
    data: str
    fingerprint: str
    protocol: ProtocolInfo
    num_items: int
    num_targets: int
    metrics: dict[str, float]
    seed: int
    config: dict[str, Any]
    versions: dict[str, str]
    seconds: float


class RunRecord(FileRecord):
    """Contents of ``metrics.json``: how training ended, and what was measured.

    Attributes:
        status: finished, or interrupted by a signal.
        best_epoch: epoch whose weights were kept; 0 for a model that only counts.
        best_validation: the validation metric of that epoch; None if there was no validation.
        epochs: number of epochs trained.
        training_seconds: seconds spent in the epochs alone.
        seconds: seconds spent in the whole run.
        ended: time at which it ended, in UTC: 2026-01-31T12:00:00Z.
        device: cpu or cuda.
        processor: processor of the device, on which the rounding of sums depends; None in runs of earlier versions.
        threads: number of threads that torch used in each process.
        processes: number of training processes.
        weights: checksum of the weights that were measured.
        near_items: what validation chose for co-occurrence after training; None if there was nothing to choose.
        calibration: what it chose for items of the history; None if there was nothing to choose.
        results: results by part and protocol label; empty for an interrupted training, a trial, and a final model.
    """

    may_lack: ClassVar[frozenset[str]] = frozenset({"processor", "near_items", "calibration"})

    status: Literal["finished", "interrupted"]
    best_epoch: int
    best_validation: float | None
    epochs: int
    training_seconds: float
    seconds: float
    ended: str
    device: str
    processor: str | None = None
    threads: int
    processes: int
    weights: str
    near_items: Calibration | None = None
    calibration: Calibration | None = None
    results: dict[str, dict[str, MeasuredPart]]

    @property
    def finished(self) -> bool:
        """Whether training was completed."""
        return self.status == "finished"

    def machine(self, precision: str) -> str:
        """Device, processor, threads and precision in words; runs of earlier versions did not record the processor.

        Args:
            precision: precision of the training; ignored for a model that only counts.
        """
        inside = [*filter(None, [self.processor]), count_of(self.threads, "thread")]
        return f"{self.device} ({', '.join(inside)})" + (f" in {precision}" if self.epochs else "")

    @property
    def test(self) -> dict[str, MeasuredPart]:
        """Results on the test targets, by protocol label; empty if they were not measured."""
        return self.results.get("test", {})


def ranks_path(directory: Path, part: str, label: str) -> Path:
    """Path of the exact ranks on one part of the targets under one protocol."""
    return directory / f"ranks-{part}-{label}.parquet"


@dataclass(frozen=True, slots=True, init=False)
class Run:
    """A finished or interrupted run; accepted wherever the path of its directory is.

    Attributes:
        directory: directory with the model, metrics and history.
    """

    directory: Path

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "directory", path_of("directory", directory))

    def __fspath__(self) -> str:
        return os.fspath(self.directory)

    @property
    def info(self) -> RunInfo:
        """Contents of ``config.json``: model, settings, data, seed, versions.

        Raises:
            ModelFileError: there is no such run, or the file is damaged or was not written by a run.
        """
        return _validated(RunInfo, read_config(self.directory), self.directory / CONFIG)

    @property
    def record(self) -> RunRecord:
        """Contents of ``metrics.json``: how training ended, and the results by part and protocol.

        Raises:
            ModelFileError: the file is missing or damaged, or belongs to other weights than the run has now.
        """
        return _validated(RunRecord, read_metrics(self.directory), self.directory / METRICS)

    @property
    def intake(self) -> Intake | None:
        """What was read from the log that the run was trained on; None for runs of earlier versions.

        Raises:
            ModelFileError: the file is damaged.
        """
        return read_intake(self.directory)

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Test metrics by protocol: ``run.metrics["U"]["HR@20"]``. Empty for an interrupted run and a final model."""
        test = self.record.test
        return {label: test[label].metrics for label in LABELS if label in test}

    @property
    def history(self) -> list[dict[str, Any]]:
        """One record per epoch; empty for a model that only counts.

        Raises:
            ModelFileError: the file is damaged, or has fewer epochs than ``metrics.json``.
        """
        path = self.directory / "history.jsonl"
        found, trained = read_history(path), self._epochs()
        if len(found) < trained:
            raise ModelFileError(
                f"{path}: has {count_of(len(found), 'epoch')}, and {METRICS} says {trained}: it is damaged"
            )
        return [asdict(record) for record in found]

    def _epochs(self) -> int:
        """Number of trained epochs according to ``metrics.json``; 0 for an unfinished run, which has no such file."""
        try:
            return self.record.epochs
        except ModelFileError:
            return 0

    @property
    def model(self) -> Model:
        """The trained model, loaded."""
        from mclrec.inference.model import Model

        return Model.load(self.directory)

    def ranks(self, part: str = "test", label: str = "U") -> RankTable:
        """Exact rank of each target, under one protocol (U or F, as in ``metrics``).

        Raises:
            ModelFileError: there is no such run, or it was not measured in this way, or with other weights.
            EvaluationError: it is a final model, which has nothing to be measured on.
            DataError: the file is damaged.
        """
        if not self.directory.is_dir():
            raise ModelFileError(f"{self.directory}: no such run directory")
        path = ranks_path(self.directory, part, label)
        if not path.exists():
            with suppress(ModelFileError):
                self.info.refuse_final(self.directory, " and cannot be measured on any of them")
            raise ModelFileError(
                f"{path}: no ranks: the run is unfinished, or not measured in this way; see `mclrec evaluate --help`"
            )
        table = load_ranks(path)
        check_weights(self.directory, table.about.get("weights"), path)
        measured = table.about.get("protocol")
        # Ranks of noisy histories belong to the part test-noise-SHARE, but their protocol names the part test.
        if (
            not isinstance(measured, dict)
            or measured.get("label") != label
            or str(measured.get("part")) not in part
        ):
            raise DataError(f"{path}: its ranks were measured in another way; repeat mclrec evaluate")
        return table


def open_run(run: object) -> Run:
    """Return the given run, which may be given as its directory.

    Raises:
        ConfigError: the argument is neither a run nor a path.
        ModelFileError: there is no such directory.
    """
    if isinstance(run, Run):
        return run
    if not isinstance(run, str | Path) or not str(run):
        shown = f"a {type(run).__name__}" if not isinstance(run, str) else "empty text"
        raise ConfigError(f"expected a run or the directory of one, not {shown}")
    try:
        there = Path(run).is_dir()
    except (OSError, ValueError):
        there = False
    if not there:
        shown = str(run) if str(run).isprintable() and len(str(run)) <= 255 else repr(str(run)[:60])
        raise ModelFileError(f"{shown}: no such run directory")
    return Run(Path(run))


def check_seen(seen: str) -> Literal["U", "F"]:
    """Return the protocol label for ``keep`` (U) or ``drop`` (F).

    Raises:
        ConfigError: the argument is neither; the nearest is suggested.
    """
    check_choice("rule for seen items", seen, LABEL_OF)
    return LABEL_OF[cast("Seen", seen)]


def _validated(kind: type[Stored], found: Any, path: Path) -> Stored:
    """Validate the contents of a file as a frozen type; a missing key is an error even if it has a default."""
    record = validated(kind, found, str(path), ModelFileError)
    if missing := _missing(record.model_dump(mode="json"), found):
        raise ModelFileError(f"{path}: {missing} is missing")
    return record


def _missing(whole: Any, found: Any) -> str | None:
    """Path of the first key that is missing from a file; None if there is none."""
    if not isinstance(whole, dict) or not isinstance(found, dict):
        return None
    for key, value in whole.items():
        if key not in found:
            return str(key)
        if deeper := _missing(value, found[key]):
            return f"{key}.{deeper}"
    return None
