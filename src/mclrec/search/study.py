"""The journal of a search: its trials, which worker does them, and their results.

Optuna keeps the journal, in one file that any number of processes and machines can share, and draws the settings. It
does not know whether the process of a running trial is still alive. Therefore a worker holds a file lock while it does
a trial. The operating system releases the lock when the process dies, and the next worker resumes the trial from its
checkpoint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from mclrec.crashes import machine_failure
from mclrec.errors import ConfigError, InUseError, MclrecError
from mclrec.locks import Lock
from mclrec.randomness import Stream, generator
from mclrec.recipes import Recipe, resolve
from mclrec.recipes.auto import DataSizes
from mclrec.recipes.space import Choices, Dimension, search_space, value_of
from mclrec.runs.run_directory import run_lock
from mclrec.runs.saved_settings import came_later
from mclrec.search.search_folder import claim_folder
from mclrec.training.identity import first_difference

__all__ = ["ClaimedTrial", "Plan", "Search"]

_NAME = "mclrec"
_ATTEMPTS = 3
"""How often a trial is started before it counts as failed: its settings may be killing its workers."""

_STARTUP = 5
"""Trials before the sampler models their results, and before any is pruned. The first trial is the recipe."""

_LONGEST_LINE = 1_000_000
"""Bytes at the end of a journal that are searched for a line break."""

_OTHERS = 3
"""Number of trials that must have reached an epoch before another can be pruned there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The definition of a search; the same for all workers that share the journal.

    Attributes:
        model: name of a registered model.
        recipe: section of the recipes, or a file; None for the data set's own.
        settings: fixed settings, which override the recipe's.
        seed: of the search and of every trial's run.
        split: rule by which targets are held out, as `SplitRule` writes it.
        data_name: name of the data, for titles.
        dataset: name of the registered data set that the data are, if they are one.
        fingerprint: of the data.
        sizes: of the data, for the rules of the recipe ``auto``.
    """

    model: str
    recipe: str | Path | None
    settings: Mapping[str, Any]
    seed: int
    split: str
    data_name: str
    dataset: str | None
    fingerprint: str
    sizes: DataSizes | None = None

    @property
    def base(self) -> Recipe:
        """The recipe that the search starts from."""
        return resolve(self.model, self.dataset, self.recipe, self.settings, self.sizes)

    @property
    def space(self) -> dict[str, Dimension]:
        """The search space: a dimension for each searched setting."""
        return search_space(self.model, self.dataset, self.recipe, self.settings, self.sizes)

    def recipe_with(self, chosen: Mapping[str, Any]) -> Recipe:
        """The recipe with the settings of a trial."""
        return resolve(self.model, self.dataset, self.recipe, {**self.settings, **chosen}, self.sizes)

    def identity(self) -> dict[str, Any]:
        """Values that must not change during a search, as a flat mapping, so that a difference can be named."""
        base, space = self.base, self.space
        values = {
            **base.config.model_dump(mode="json", by_alias=True),
            **base.training.model_dump(mode="json"),
        }
        return {
            "model": self.model,
            "data": self.fingerprint,
            "split": self.split,
            "seed": self.seed,
            **{f"setting {key}": value for key, value in values.items()},
            **{f"space of {key}": str(dimension) for key, dimension in space.items()},
        }


@dataclass(slots=True)
class ClaimedTrial:
    """A trial that this process has locked for itself.

    Attributes:
        trial: Optuna's trial.
        directory: directory of its run.
        lock: held until the trial ends or is left to another worker.
        reported: epochs whose metric is already in the journal.
    """

    trial: optuna.Trial
    directory: Path
    lock: Lock = field(repr=False)
    reported: set[int]

    @property
    def number(self) -> int:
        """Number of the trial, from 0."""
        return self.trial.number

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the trial."""
        return self.trial.params


class Search:
    """A search, shared with all processes that open the same journal.

    Args:
        storage: the journal; created if it does not exist.
        plan: what is searched.

    Raises:
        ConfigError: the journal is damaged, or belongs to another search.
    """

    def __init__(self, storage: Path, plan: Plan) -> None:
        self.storage, self.plan = storage, plan
        self._space = {key: _distribution(dimension) for key, dimension in plan.space.items()}
        self._turn = FileLock(storage.with_name(f".{storage.name}.turn"))
        storage.parent.mkdir(parents=True, exist_ok=True)
        self.folder = claim_folder(storage)
        with self._turn:
            self.study = _open(storage, plan)
            _begin(self.study, storage, plan, self._space)

    def directory(self, number: int) -> Path:
        """Directory of a trial's run."""
        return self.folder / "trials" / f"{number:04d}"

    def trials(self) -> list[FrozenTrial]:
        """All trials that have been started or are waiting."""
        with _journal_errors_as_ours(self.storage):
            return self.study.get_trials(deepcopy=False)

    def importance(self) -> dict[str, float]:
        """Importance of each setting by PED-ANOVA, highest first; empty if too few, or only tied, trials are done."""
        done = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        if len(done) < _STARTUP or len({trial.value for trial in done}) == 1:
            return {}
        return optuna.importance.get_param_importances(self.study)

    def claim(self, total: int) -> ClaimedTrial | None:
        """Claim a trial: one whose process died or was stopped, else a new one.

        Args:
            total: number of trials of the whole search.

        Returns:
            None if none is available: all have ended, or other workers are doing them.
        """
        with self._turn:
            trials = self.trials()
            for known in trials:
                if known.state == TrialState.RUNNING and (claimed := self._reclaim(known)):
                    return claimed
            if sum(known.state != TrialState.WAITING for known in trials) >= total:
                return None
            self._seed(len(trials))
            trial = self.study.ask(self._space)
            lock = run_lock(self.directory(trial.number)).acquire()
            trial.set_user_attr("attempts", 1)
            return ClaimedTrial(trial, self.directory(trial.number), lock, set())

    def over(self, total: int) -> bool:
        """Whether all trials have ended."""
        return sum(trial.state.is_finished() for trial in self.trials()) >= total

    def report(self, claimed: ClaimedTrial, epoch: int, value: float) -> None:
        """Record the metric of an epoch.

        Raises:
            optuna.TrialPruned: the trial should be stopped.
        """
        if epoch not in claimed.reported:
            claimed.reported.add(epoch)
            claimed.trial.report(value, epoch)
        if claimed.trial.should_prune():
            raise optuna.TrialPruned

    def finish(self, claimed: ClaimedTrial, value: float) -> None:
        """End a trial that finished, with its validation metric."""
        self._end(claimed, TrialState.COMPLETE, value)

    def prune(self, claimed: ClaimedTrial) -> None:
        """End a trial that was pruned."""
        self._end(claimed, TrialState.PRUNED)

    def fail(self, claimed: ClaimedTrial, problem: str) -> None:
        """End a trial whose settings cannot be trained."""
        claimed.trial.set_user_attr("problem", problem)
        self._end(claimed, TrialState.FAIL)

    def leave(self, claimed: ClaimedTrial) -> None:
        """Release an unfinished trial for another worker; this does not count as an attempt."""
        claimed.trial.set_user_attr("attempts", 0)
        claimed.lock.release()

    def _end(self, claimed: ClaimedTrial, state: TrialState, value: float | None = None) -> None:
        with _quiet():
            self.study.tell(claimed.trial, value, state)
        claimed.lock.release()

    def _reclaim(self, known: FrozenTrial) -> ClaimedTrial | None:
        """Claim a running trial whose process is gone; None if its lock is held, or it has been started too often."""
        try:
            lock = run_lock(self.directory(known.number)).acquire()
        except InUseError:
            return None
        known = self.trials()[known.number]  # its worker may have ended it before it released the lock
        if known.state != TrialState.RUNNING:
            lock.release()
            return None
        self._seed(known.number)
        trial = optuna.Trial(self.study, known._trial_id)
        claimed = ClaimedTrial(trial, self.directory(known.number), lock, set(known.intermediate_values))
        attempts = known.user_attrs.get("attempts", 0)
        if attempts >= _ATTEMPTS:
            self.fail(claimed, f"its process died {attempts} times; check its memory use")
            return None
        for key, distribution in self._space.items():  # draws those that were missing when its process died
            _draw(trial, key, distribution)
        trial.set_user_attr("attempts", attempts + 1)
        return claimed

    def _seed(self, number: int) -> None:
        """Seed the sampler by trial number, so that the seed does not depend on which worker draws the settings."""
        seed = int(generator(self.plan.seed, Stream.SEARCH, number).integers(1 << 32))
        self.study.sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=_STARTUP
        )


def _open(storage: Path, plan: Plan) -> optuna.Study:
    training = plan.base.training
    # Median pruning and not Hyperband, whose brackets need some ten trials each before the sampler learns anything:
    # more than most searches have. Before a trial can be pruned, it gets as many epochs as early stopping grants a
    # training that does not improve.
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=_STARTUP,
        n_warmup_steps=min(training.patience, training.epochs // 2),
        n_min_trials=_OTHERS,
    )
    lock = _AppendLock(storage)
    with _quiet(), _journal_errors_as_ours(storage):
        _remove_half_line(storage, lock)
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(storage), lock)),
            study_name=_NAME,
            direction="maximize",
            pruner=pruner,
            load_if_exists=True,
        )


class _AppendLock(JournalFileOpenLock):
    """Lock for appending lines to a journal; Optuna's own would block others for 30 s after its holder is killed."""

    def __init__(self, storage: Path) -> None:
        super().__init__(str(storage))
        self._held = FileLock(storage.with_name(f".{storage.name}.append"))

    def acquire(self) -> bool:
        """Wait until no other process appends lines."""
        self._held.acquire()
        return True

    def release(self) -> None:
        """Let other processes append lines."""
        self._held.release()


def _remove_half_line(storage: Path, lock: _AppendLock) -> None:
    """Remove a truncated last line of a journal, left by a full disk, which would corrupt the next line."""
    if not storage.exists():
        return
    lock.acquire()
    try:
        with storage.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _LONGEST_LINE, 0))
            end = file.read()
            if end and not end.endswith(b"\n"):
                file.truncate(size - len(end) + end.rfind(b"\n") + 1)
    finally:
        lock.release()


def _begin(study: optuna.Study, storage: Path, plan: Plan, space: Mapping[str, BaseDistribution]) -> None:
    """Store the search's identity in a new journal, with the recipe as its first trial; check that of an existing one.

    Raises:
        ConfigError: an existing journal belongs to another search.
    """
    identity = json.loads(json.dumps(plan.identity()))
    known = study.user_attrs.get("identity")
    if known is None:
        study.set_user_attr("identity", identity)
    elif other := first_difference(known, identity, came_later(plan.model)):
        raise ConfigError(
            f"{storage}: belongs to a search with another {other.key}: {other.had!r} there, but {other.now!r} here; "
            f"{other.remedy('give another --storage')}"
        )
    if not study.get_trials(deepcopy=False):  # also if an earlier process ended before this
        study.enqueue_trial({key: value_of(plan.base, key) for key in space})


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        step = 1 if dimension.step is None else int(dimension.step)
        return IntDistribution(int(dimension.low), int(dimension.high), dimension.log, step)
    return FloatDistribution(dimension.low, dimension.high, dimension.log, dimension.step)


def _draw(trial: optuna.Trial, key: str, distribution: BaseDistribution) -> None:
    """Draw the trial's value of a setting, unless it has one already."""
    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(key, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(
            key, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    elif isinstance(distribution, FloatDistribution):
        trial.suggest_float(
            key, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's logging, and restore its level afterwards."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


@contextmanager
def _journal_errors_as_ours(storage: Path) -> Iterator[None]:
    """Convert errors from reading the journal to a `ConfigError` that names the file."""
    try:
        yield
    except MclrecError:
        raise
    except Exception as problem:  # from Optuna, which does not validate what it reads
        if machine_failure(problem) is not None:
            raise
        reason = f"{type(problem).__name__}: {problem}"
        raise ConfigError(f"{storage}: damaged, or not the journal of a search: {reason}") from None
