"""Does trials, one after the other, beside others that do the same."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from mclrec.errors import MclrecError
from mclrec.runs.command import begin_or_resume, train_command
from mclrec.runs.sources import DataSource
from mclrec.runs.train import TrainRequest, train
from mclrec.search.study import ClaimedTrial, Plan, Search
from mclrec.training.history import EpochRecord
from mclrec.training.reporting import SilentReporter

__all__ = ["Job", "command", "do_trials"]

_POLL = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker of one call does.

    Attributes:
        storage: the journal.
        plan: what is searched.
        data: prepared data, mapped into memory and so shared by the workers.
        place: what the user calls the data, for commands.
        trials: of the whole search.
        device: auto, cpu or cuda.
        track: what runs are tracked with.
    """

    storage: Path
    plan: Plan
    data: Path
    place: str
    trials: int
    device: str = "auto"
    track: str | None = None


def do_trials(job: Job) -> bool:
    """Do what nobody else does until all trials are over; False if a signal ended it.

    What others are at is waited for, lest they die.
    """
    search = Search(job.storage, job.plan)
    while True:
        claimed = search.take(job.trials)
        if claimed is not None:
            if not _attempt(search, claimed, job):
                return False
        elif search.over(job.trials):
            return True
        else:
            time.sleep(_POLL)


def command(job: Job, recipe: str | Path | None, settings: Mapping[str, Any] | None = None) -> str:
    """The command line that trains with some settings, and measures on the test items."""
    plan = job.plan
    return train_command(job.place, plan.model, plan.seed, recipe=recipe, settings=settings, split=plan.split)


class _PruningReporter(SilentReporter):
    """Tells the search what each epoch reached, and ends the training when it says so."""

    def __init__(self, search: Search, claimed: ClaimedTrial) -> None:
        self._search, self._taken = search, claimed

    def epoch_finished(self, record: EpochRecord) -> None:
        """See `Reporter`."""
        for value in record.metrics.values():
            self._search.report(self._taken, record.epoch, value)


def _attempt(search: Search, claimed: ClaimedTrial, job: Job) -> bool:
    """Whether the trial came to some end; what is no fault of its settings ends the worker instead."""
    try:
        run = train(_request(claimed, job), _PruningReporter(search, claimed))
    except optuna.TrialPruned:
        search.prune(claimed)
    except MclrecError as problem:
        search.fail(claimed, str(problem))
    else:
        record = run.record
        if record["status"] != "finished":
            search.leave(claimed)
            return False
        search.finish(claimed, record["best_validation"])
    finally:
        claimed.lock.release()
    shutil.rmtree(claimed.directory / "checkpoint", ignore_errors=True)
    return True


def _request(claimed: ClaimedTrial, job: Job) -> TrainRequest:
    plan, settings = job.plan, {**job.plan.settings, **claimed.settings}
    return TrainRequest(
        DataSource(str(job.data)),
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
