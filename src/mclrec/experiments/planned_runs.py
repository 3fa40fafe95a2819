"""The training runs of a campaign: what each one trains, where its directory is, and how workers do them."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mclrec.crashes import machine_failure
from mclrec.data.datasets import known_as
from mclrec.data.loading import load
from mclrec.data.nothing_left import NothingLeftError
from mclrec.data.sequences import SequenceData
from mclrec.data.split import make_split
from mclrec.data.statistics import of_length, users_of_length
from mclrec.errors import ConfigError, DataError, InUseError, MclrecWarning, ModelFileError, TrainingError
from mclrec.experiments.earlier_runs import finished_runs
from mclrec.experiments.kept_results import (
    directories_with,
    is_complete,
    is_finished,
    parts_to_measure,
    unreadable,
)
from mclrec.experiments.noise import measure_with_noise, noisy_part
from mclrec.files import write_text
from mclrec.locks import Lock
from mclrec.models.storage import load_model
from mclrec.recipes import Recipe, is_auto, resolve
from mclrec.recipes.auto import DataSizes
from mclrec.runs.measurement import measure
from mclrec.runs.recipe_choice import sizes_of
from mclrec.runs.request import TrainRequest, train_command
from mclrec.runs.run import Run
from mclrec.runs.run_directory import begin_or_resume, run_lock
from mclrec.runs.training_run import resolve_device, train
from mclrec.training.checkpoint import CHECKPOINT

__all__ = [
    "ERROR_FILE",
    "Datasets",
    "PlannedRun",
    "RunStore",
    "command",
    "do_runs",
    "do_runs_in_process",
    "failure_of",
    "forget_failure",
]

ERROR_FILE = "error.txt"
"""File in a run's directory that says why the run failed."""

_ATTEMPTS = 3
"""Number of attempts whose process died after which a run counts as failed, as it may be what kills its workers."""

_PATIENCE = 0.1
"""Seconds that a worker waits for a run's lock, which the progress display may hold for a moment."""

_POLL = 1.0
_AGAIN = "is repeated, from its checkpoint if it has one"

_WITHOUT_EFFECT = {"checkpoint_minutes"}
"""Training settings that do not change the result."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One training run of a campaign, done or not.

    Attributes:
        data: name of a data set, or path of a log.
        model: name of a registered model.
        recipe: section of the model's recipes; the data set's own if None.
        settings: override those of the recipe.
        seed: seed of everything random.
        lengths: train and evaluate only on users whose number of interactions is from the first number to the second
            (None: no upper bound); on all users if None.
        noise: shares of random items in the test histories; the run is also evaluated with each of them.
        views: whether its model is needed too, for plots of its views.
    """

    data: str
    model: str
    recipe: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 1
    lengths: tuple[int, int | None] | None = None
    noise: tuple[float, ...] = ()
    views: bool = False

    @property
    def shares(self) -> dict[str, float]:
        """Share of noise by part of the targets to measure; 0 for the test part itself."""
        return {"test": 0.0, **{noisy_part(share): share for share in self.noise}}

    def is_complete(self, directory: Path) -> bool:
        """Whether a directory holds the finished run with everything that was planned."""
        return is_complete(directory, self.shares, model=self.views)


class Datasets:
    """Data sets by name or path, each read once."""

    def __init__(self) -> None:
        self._read: dict[str, SequenceData] = {}

    def __getitem__(self, place: str) -> SequenceData:
        if place not in self._read:
            try:
                self._read[place] = load(place)
            except NothingLeftError as problem:
                raise DataError(f"{problem}: give the folder that `mclrec prepare` makes from it") from None
        return self._read[place]

    def has_users(self, planned: PlannedRun) -> bool:
        """Whether any user has a number of interactions that a planned run selects."""
        return planned.lengths is None or len(users_of_length(self[planned.data], *planned.lengths)) > 0

    def of(self, planned: PlannedRun) -> SequenceData:
        """The data that a planned run trains on."""
        data = self[planned.data]
        return data if planned.lengths is None else of_length(data, *planned.lengths)


class RunStore:
    """The run directories of a campaign. Planned runs that resolve to the same settings share one.

    Args:
        folder: folder with one directory per run.
        datasets: the data sets; a new collection if None.
        track: experiment tracker of the runs; see `TrainRequest`.
    """

    def __init__(self, folder: Path, datasets: Datasets | None = None, track: str | None = None) -> None:
        self.folder, self.track = folder, track
        self.datasets = datasets or Datasets()
        self._earlier: dict[tuple[str, tuple[float, ...], bool], Path | None] = {}
        self._sizes: dict[tuple[str, tuple[int, int | None] | None], DataSizes] = {}

    def recipe(self, planned: PlannedRun) -> Recipe:
        """The run's resolved settings.

        Raises:
            ConfigError: an unknown model, section or key.
        """
        known, sizes = known_as(self.datasets[planned.data]), None
        if is_auto(planned.model, known, planned.recipe):
            sizes = self._sizes_of(planned)
        return resolve(planned.model, known, planned.recipe, planned.settings, sizes)

    def _sizes_of(self, planned: PlannedRun) -> DataSizes:
        """The sizes of the run's data, computed once."""
        users = (planned.data, planned.lengths)
        if users not in self._sizes:
            self._sizes[users] = sizes_of(make_split(self.datasets.of(planned), "leave-one-out"))
        return self._sizes[users]

    def key(self, planned: PlannedRun) -> str:
        """Hash of everything that determines the result: twelve hexadecimal digits."""
        recipe = self.recipe(planned)
        training = recipe.training.identity()
        identity = {
            "model": recipe.model,
            "config": recipe.config.identity(),
            "training": {name: value for name, value in training.items() if name not in _WITHOUT_EFFECT},
            "data": self.datasets[planned.data].fingerprint,
            "lengths": planned.lengths,
            "seed": planned.seed,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]

    def directory(self, planned: PlannedRun) -> Path:
        """The run's directory, whether it exists or not.

        An existing directory of the run keeps its name, whatever the data are called now. So does the directory of a
        run finished by an earlier version, whose name has the key of that version.
        """
        key = self.key(planned)
        path = self.folder / f"{self.datasets[planned.data].name}-{planned.model}-{key}"
        if found := directories_with(self.folder, key):
            return found[0] if len(found) == 1 or not is_finished(path) else path
        asked = key, planned.noise, planned.views
        if asked not in self._earlier:
            self._earlier[asked] = self._finished_earlier(planned)
        return self._earlier[asked] or path

    def _finished_earlier(self, planned: PlannedRun) -> Path | None:
        """The directory of the same run by an earlier version, if it holds everything that was planned."""
        if next(self.folder.glob(f"*-{planned.model}-*"), None) is None:
            return None
        fingerprint = self.datasets.of(planned).fingerprint
        found = finished_runs(self.folder, self.recipe(planned), fingerprint, planned.seed)
        return next((path for path in found if planned.is_complete(path)), None)

    def kept_key(self, planned: PlannedRun) -> str:
        """The key in the name of the run's directory: `key`, or that of the earlier version that finished the run."""
        return self.directory(planned).name.rpartition("-")[2]

    def is_complete(self, planned: PlannedRun) -> bool:
        """Whether the run is finished and everything the plan needs can be read."""
        return planned.is_complete(self.directory(planned))

    def run(self, planned: PlannedRun) -> Run:
        """The finished run.

        Raises:
            ConfigError: it is not finished.
        """
        if not self.is_complete(planned):
            raise ConfigError(f"{self.directory(planned)}: is not finished")
        return Run(self.directory(planned))


def command(planned: PlannedRun) -> str:
    """Command line that repeats one run; a comment is added if it selects users, which no option does."""
    line = train_command(
        planned.data, planned.model, planned.seed, recipe=planned.recipe, settings=planned.settings
    )
    if planned.lengths is None:
        return line
    shortest, longest = planned.lengths
    return f"{line}  # on users with {shortest} to {longest or 'any number of'} interactions"


def failure_of(directory: Path) -> str | None:
    """Why a run failed; None if it did not."""
    try:
        text = (directory / ERROR_FILE).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
    return text or "no reason was kept"


def forget_failure(directory: Path) -> None:
    """Allow a new attempt at a run that failed or whose processes died."""
    (directory / ERROR_FILE).unlink(missing_ok=True)
    _attempts_file(directory).unlink(missing_ok=True)


def do_runs(store: RunStore, wanted: Sequence[PlannedRun]) -> bool:
    """Do the runs that no other worker is doing, until all are done or have failed.

    A run that fails leaves its reason in `ERROR_FILE`, and the next one begins. While other workers are still busy,
    this one waits, and takes over runs whose worker dies.

    Returns:
        False if a signal ended it.
    """
    while True:
        busy = False
        for planned in wanted:
            state = _do_one(store, planned)
            if state == "interrupted":  # begin no further run
                return False
            busy |= state == "busy"
        if not busy:
            return True
        time.sleep(_POLL)


def do_runs_in_process(folder: str, wanted: Sequence[PlannedRun], track: str | None) -> None:
    """`do_runs` as the target of a worker process."""
    do_runs(RunStore(Path(folder), track=track), wanted)


def _do_one(store: RunStore, planned: PlannedRun) -> str:
    """Do one run if it is open; returns done, failed, interrupted, or busy if another worker holds its lock."""
    directory = store.directory(planned)
    if store.is_complete(planned):
        return "done"
    if failure_of(directory) is not None:
        return "failed"
    try:
        with run_lock(directory).acquire(_PATIENCE) as lock:
            if failure_of(directory) is not None:  # of another worker, which had the lock until now
                return "failed"
            return _attempt(store, planned, directory, lock)
    except InUseError:
        return "busy"


def _attempt(store: RunStore, planned: PlannedRun, directory: Path, lock: Lock) -> str:
    """Make one attempt at a run and record a failure; returns done, failed or interrupted."""
    try:
        _count_attempt(directory)
        if not _do_missing(store, planned, directory, lock):
            return "interrupted"
    except Exception as problem:
        ours = machine_failure(problem)
        text = str(ours) if ours is not None else traceback.format_exc()
        write_text(directory / ERROR_FILE, text.rstrip() + "\n")
        return "failed"
    finally:
        _attempts_file(directory).unlink(missing_ok=True)
    return "done"


def _do_missing(store: RunStore, planned: PlannedRun, directory: Path, lock: Lock) -> bool:
    """Train, and measure what is unreadable or was never measured; returns False if training was interrupted."""
    if not is_finished(directory):
        if problem := unreadable(directory):
            _warn(f"{directory}: its record cannot be read, and the run {_AGAIN}: {problem}")
        if not _train(store, planned, directory, lock):
            return False
    try:
        _measure(store, planned, directory)
    except ModelFileError as problem:
        _warn(f"{directory}: its model cannot be read, and the run {_AGAIN}: {problem}")
        if not _train(store, planned, directory, lock):
            return False
        _measure(store, planned, directory)
    return True


def _measure(store: RunStore, planned: PlannedRun, directory: Path) -> None:
    """Measure, with the saved model, the parts whose ranks are missing, damaged, or from other weights.

    Raises:
        ModelFileError: the model is needed and is damaged.
    """
    parts = parts_to_measure(directory, planned.shares)
    if parts or planned.views:
        loaded = load_model(directory, device := resolve_device("auto"))
    if parts:
        split = make_split(store.datasets.of(planned), "leave-one-out")
    for part in parts:
        if part == "test":
            recipe = store.recipe(planned)
            measure(loaded.model, split, recipe, directory, planned.seed, device)
        else:
            measure_with_noise(directory, split, planned.shares[part], planned.seed)


def _warn(text: str) -> None:
    warnings.warn(text, MclrecWarning, stacklevel=3)


def _attempts_file(directory: Path) -> Path:
    """File beside a run's directory that counts attempts whose process died, one byte each."""
    return directory.with_name(f".{directory.name}.attempts")


def _count_attempt(directory: Path) -> None:
    """Count an attempt; the count is removed when the attempt ends, unless its process dies.

    Raises:
        TrainingError: the processes of several attempts died, so the run may be what kills them.
    """
    path = _attempts_file(directory)
    died = path.stat().st_size if path.exists() else 0
    if died >= _ATTEMPTS:
        raise TrainingError(f"{directory}: its process died {died} times; check its memory use")
    with path.open("ab") as file:
        file.write(b".")


def _train(store: RunStore, planned: PlannedRun, directory: Path, lock: Lock) -> bool:
    """Train, from scratch if the checkpoint cannot be read; returns False if training was interrupted."""
    resumed = begin_or_resume(directory)
    try:
        return train(_request(store, planned, directory, resumed), lock=lock).record.finished
    except ModelFileError as problem:
        if not resumed:
            raise
        _warn(f"{directory}: its checkpoint is discarded and the run is trained from scratch: {problem}")
    shutil.rmtree(directory / CHECKPOINT)
    request = _request(store, planned, directory, begin_or_resume(directory))
    return train(request, lock=lock).record.finished


def _request(store: RunStore, planned: PlannedRun, directory: Path, resume: bool) -> TrainRequest:
    """The training request; it names the recipe section, since data of selected users do not have a data set's name."""
    section = store.recipe(planned).section
    data = store.datasets.of(planned)
    return TrainRequest(
        data,
        planned.model,
        section,
        planned.settings,
        planned.seed,
        directory,
        resume=resume,
        command=command(planned),
        track=store.track,
    )
