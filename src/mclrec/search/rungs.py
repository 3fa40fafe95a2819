"""The rungs of a search within minutes: which candidates there are, their training, and which of them go on."""

from __future__ import annotations

import shutil
from dataclasses import replace

from mclrec.crashes import machine_failure
from mclrec.data.datasets import known_as
from mclrec.errors import OutputError, TrainingError
from mclrec.runs.plan import duration
from mclrec.runs.run_directory import begin_or_resume
from mclrec.runs.training_run import train
from mclrec.search.candidates import candidate_settings
from mclrec.search.epoch_clock import Budget, EpochClock, OutOfTimeError
from mclrec.search.halving import RECIPE, affordable, epochs_to_come, going_on, winner_of
from mclrec.search.search_job import Job
from mclrec.search.search_record import Candidate, Rung, SearchRecord
from mclrec.training.reporting import read_history
from mclrec.wording import count_of

__all__ = ["search_rungs"]


def search_rungs(job: Job, record: SearchRecord, budget: Budget) -> int:
    """Train candidates from rung to rung until one has won or the time has come to finish; returns its number."""
    try:
        _advance(job, record, record.recipe, budget)
        if not record.planned:
            _plan(job, record, budget)
        while True:
            for candidate in record.going:
                _advance(job, record, candidate, budget)
            if not _next_rung(job, record, budget):
                break
    except OutOfTimeError:
        if not record.recipe.curve:
            raise TrainingError(
                f"{job.directory}: not one epoch was done in {duration(budget.seconds)}; go on with more --minutes "
                "and --resume"
            ) from None
        job.say("the time for comparing is over")
    epochs = record.rungs[-1].epochs if record.rungs else record.rung
    values = record.values(epochs)
    return winner_of(values) if RECIPE in values else RECIPE


def _plan(job: Job, record: SearchRecord, budget: Budget) -> None:
    """Decide how many candidates the time allows, by the seconds that epochs of the recipe have taken."""
    training = job.base.training
    settings = candidate_settings(
        job.base, known_as(job.split.data), job.request.recipe, job.settings, job.sizes
    )
    own = record.recipe
    others = [Candidate(number, one) for number, one in enumerate(settings[1:], start=RECIPE + 1)]
    to_come = epochs_to_come(len(own.curve), training.patience, training.epochs)
    if own.reached(record.rung) and budget.left > own.seconds * (record.rung + to_come):
        timed = job.epoch_time(own) or own.seconds
        for other in others:
            other.seconds = own.seconds * job.epoch_time(other) / timed
        seconds = [own.seconds, *(other.seconds for other in others)]
        count = affordable(seconds, budget.left, record.rung, to_come)
    else:
        count = 1
    record.candidates += others[: count - 1]
    record.planned = True
    record.save(job.directory, budget.spent)
    job.say(
        f"{own.seconds:.3g} s an epoch: {count} candidates, the better half goes on after "
        f"{count_of(record.rung, 'epoch')}"
        if count > 1
        else f"{own.seconds:.3g} s an epoch: too little time to compare settings; training the recipe"
    )


def _next_rung(job: Job, record: SearchRecord, budget: Budget) -> bool:
    """Close the rung that all have reached; whether there is another one, and time for it."""
    values = record.values(record.rung)
    record.rungs.append(Rung(record.rung, values))
    kept = going_on(values)
    for candidate in record.going:
        if candidate.number not in kept:
            candidate.state = "out"
            shutil.rmtree(job.folder(candidate), ignore_errors=True)
    further = min(2 * record.rung, job.epochs)
    training = [candidate for candidate in record.going if not candidate.reached(further)]
    if len(kept) == 1 or not training:
        record.save(job.directory, budget.spent)
        return False
    cost = sum((further - len(candidate.curve)) * candidate.seconds for candidate in training)
    if cost + _rest(job, record, further) > budget.left:
        record.save(job.directory, budget.spent)
        return False
    job.say(
        f"after {count_of(record.rung, 'epoch')}, candidates {', '.join(map(str, kept))} go on to {further}"
    )
    record.rung = further
    record.save(job.directory, budget.spent)
    return True


def _rest(job: Job, record: SearchRecord, reached: int) -> float:
    """Seconds that the slowest candidate usually still needs after a number of epochs."""
    slowest = max(candidate.seconds for candidate in record.going)
    return slowest * epochs_to_come(reached, job.base.training.patience, job.epochs)


def _advance(job: Job, record: SearchRecord, candidate: Candidate, budget: Budget) -> None:
    """Train a candidate to the end of the rung.

    Raises:
        OutOfTimeError: that would leave too little time for the winner.
        KeyboardInterrupt: a signal asked for a stop, and the checkpoint is written.
    """
    if candidate.reached(record.rung):
        return
    alone = not record.planned
    kept = 0.0 if alone else _rest(job, record, record.rung)
    clock = EpochClock(job.reporter, budget, kept, candidate.seconds)
    folder = job.folder(candidate)
    settings = {**job.settings, **candidate.settings, "epochs": record.rung}
    request = replace(
        job.request,
        settings=settings,
        out=folder,
        resume=begin_or_resume(folder),
        command=job.command(settings),
        measured=False,
    )
    try:
        finished = train(request, clock).record.finished
    except (OutOfTimeError, OutputError, KeyboardInterrupt):
        raise
    except Exception as problem:
        _fail(candidate, problem)
        record.save(job.directory, budget.spent)
        job.say(f"candidate {candidate.number} ({candidate.name}) failed: {candidate.problem}")
        return
    finally:
        _note(job, candidate, clock)
    if not finished:
        raise KeyboardInterrupt
    candidate.ended = len(candidate.curve) < record.rung or record.rung >= job.epochs
    record.save(job.directory, budget.spent)
    value = record.values(record.rung)[candidate.number]
    job.say(
        f"candidate {candidate.number} ({candidate.name}): validation {record.metric} {value:.4f} "
        f"after {count_of(len(candidate.curve), 'epoch')}; "
        f"{max(budget.seconds - budget.spent, 0) / 60:.1f} minutes left"
    )


def _note(job: Job, candidate: Candidate, clock: EpochClock) -> None:
    """Keep the curve of a candidate and how long its epochs take."""
    history = read_history(job.folder(candidate) / "history.jsonl")
    candidate.curve = [value for epoch in history for value in epoch.metrics.values()]
    candidate.seconds = clock.seconds


def _fail(candidate: Candidate, problem: Exception) -> None:
    """Note that a candidate cannot be trained; what is the fault of the recipe, or of the code, is raised."""
    ours = machine_failure(problem)
    if ours is None or candidate.number == RECIPE:
        raise problem
    candidate.state, candidate.problem = "failed", str(ours).splitlines()[0]
