"""A worker of a search: claims and trains one trial after another."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch

from mclrec.crashes import crash_message, machine_failure
from mclrec.data.origin import Origin
from mclrec.errors import OutputError
from mclrec.runs.request import TrainRequest, train_command
from mclrec.runs.run_directory import begin_or_resume
from mclrec.runs.training_run import train
from mclrec.search.study import ClaimedTrial, Plan, Search
from mclrec.training.checkpoint import CHECKPOINT
from mclrec.training.reporting import EpochRecord, SilentReporter

__all__ = ["Job", "command", "do_trials"]

_POLL = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """The inputs of each worker of one call.

    Attributes:
        storage: the journal.
        plan: what is searched.
        data: directory of the prepared data, which the workers memory-map and thus share.
        origin: where the data come from, for command lines.
        trials: number of trials of the whole search.
        device: auto, cpu or cuda.
        track: name of the experiment tracker.
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
        False if a signal stopped the worker.
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
    """Train a trial.

    Returns:
        Whether the trial ended: finished, pruned or failed; False if a signal stopped it.

    Raises:
        OutputError: the results cannot be written; the trial is left to another worker.
        KeyboardInterrupt: likewise left to another worker.
    """
    with claimed.lock:
        try:
            run = train(_request(claimed, job), _PruningReporter(search, claimed), claimed.lock)
            record = run.record
        except optuna.TrialPruned:
            search.prune(claimed)
        except (OutputError, KeyboardInterrupt):  # neither is the trial's fault
            search.leave(claimed)
            raise
        except Exception as problem:
            search.fail(claimed, _reason(problem, claimed))
        else:
            if not record.finished:
                search.leave(claimed)
                return False
            search.finish(claimed, record.best_validation or 0.0)
        shutil.rmtree(claimed.directory / CHECKPOINT, ignore_errors=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # memory that a trial had reserved before it ran out
    return True


def _reason(problem: Exception, claimed: ClaimedTrial) -> str:
    """One-line reason why a trial failed; for a fault of the library, a crash file is written."""
    ours = machine_failure(problem)
    return str(ours) if ours is not None else crash_message(problem, ["tune", f"trial {claimed.number}"])


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
