"""A worker of a search: claims trials, one after the other, and trains them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from mclrec.data.origin import Origin
from mclrec.errors import MclrecError
from mclrec.runs.request import TrainRequest, train_command
from mclrec.runs.run_directory import begin_or_resume
from mclrec.runs.training_run import train
from mclrec.search.study import ClaimedTrial, Plan, Search
from mclrec.training.reporting import EpochRecord, SilentReporter

__all__ = ["Job", "command", "do_trials"]

_POLL = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """What each worker of one call is given.

    Attributes:
        storage: the journal.
        plan: what is searched.
        data: directory of the prepared data, which the workers map into memory and so share.
        origin: where the data come from, for commands.
        trials: number of trials of the whole search.
        device: auto, cpu or cuda.
        track: what runs are tracked with.
    """

    storage: Path
    plan: Plan
    data: Path
    origin: Origin
    trials: int
    device: str = "auto"
    track: str | None = None


def do_trials(job: Job) -> bool:
    """Do trials until all have ended. While other workers still have trials, wait, to take over if they die.

    Returns:
        False if a signal ended it.
    """
    search = Search(job.storage, job.plan)
    while True:
        claimed = search.claim(job.trials)
        if claimed is not None:
            if not _attempt(search, claimed, job):
                return False
        elif search.over(job.trials):
            return True
        else:
            time.sleep(_POLL)


def command(job: Job, recipe: str | Path | None, settings: Mapping[str, Any] | None = None) -> str:
    """The command line that trains with some settings and evaluates on the test items."""
    plan = job.plan
    return train_command(
        job.origin, plan.model, plan.seed, recipe=recipe, settings=settings, split=plan.split
    )


class _PruningReporter(SilentReporter):
    """Reports the validation metric of each epoch to the search, which can prune the trial."""

    def __init__(self, search: Search, claimed: ClaimedTrial) -> None:
        self._search, self._taken = search, claimed

    def epoch_finished(self, record: EpochRecord) -> None:
        """Report the epoch's validation metric; implements `Reporter.epoch_finished`."""
        for value in record.metrics.values():
            self._search.report(self._taken, record.epoch, value)


def _attempt(search: Search, claimed: ClaimedTrial, job: Job) -> bool:
    """Train a trial; whether it ended. Errors that its settings did not cause end the worker."""
    try:
        run = train(_request(claimed, job), _PruningReporter(search, claimed), claimed.lock)
    except optuna.TrialPruned:
        search.prune(claimed)
    except MclrecError as problem:
        search.fail(claimed, str(problem))
    else:
        record = run.record
        if not record.finished:
            search.leave(claimed)
            return False
        search.finish(claimed, record.best_validation or 0.0)
    finally:
        claimed.lock.release()
    shutil.rmtree(claimed.directory / "checkpoint", ignore_errors=True)
    return True


def _request(claimed: ClaimedTrial, job: Job) -> TrainRequest:
    plan, settings = job.plan, {**job.plan.settings, **claimed.settings}
    return TrainRequest(
        job.data,
        plan.model,
        plan.base.section,
        settings,
        plan.seed,
        claimed.directory,
        job.device,
        begin_or_resume(claimed.directory),
        split=plan.split,
        command=command(job, plan.base.section, settings),
        measured=False,
        track=job.track,
    )
