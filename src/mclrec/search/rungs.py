"""The rungs of a search within minutes: choosing candidates, training them, and selecting those that survive."""

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
from mclrec.search.halving import affordable, epochs_to_come, first_rung, going_on
from mclrec.search.search_job import Job
from mclrec.search.search_record import Candidate, Rung, SearchRecord
from mclrec.training.reporting import read_history
from mclrec.wording import count_of

__all__ = ["search_rungs"]


def search_rungs(job: Job, record: SearchRecord, budget: Budget) -> int:
    """Train candidates from rung to rung and from round to round, as long as there is time.

    The first round varies the recipe, each further one the best candidate so far, which is fully trained first.

    Returns:
        The number of the best candidate.

    Raises:
        TrainingError: the time is up before the first epoch is done.
    """
    try:
        while True:
            _advance(job, record, record.central, budget)
            if not record.planned:
                _plan(job, record, budget)
            if len(record.going) == 1:
                return record.centre
            _compare(job, record, budget)
            best = record.settle()
            if not _further_round(job, record, budget, best):
                return best
    except OutOfTimeError:
        if not record.recipe.curve:
            raise TrainingError(
                f"{job.directory}: not a single epoch was done in {duration(budget.seconds)}; continue with more "
                "--minutes and --resume"
            ) from None
        job.say("the time for comparing settings is over")
    return record.settle()


def _compare(job: Job, record: SearchRecord, budget: Budget) -> None:
    """Train the candidates of a round from rung to rung, until the rungs or the time end."""
    while True:
        for candidate in record.going:
            _advance(job, record, candidate, budget)
        if not _next_rung(job, record, budget):
            return


def _further_round(job: Job, record: SearchRecord, budget: Budget, best: int) -> bool:
    """Begin a round around the best candidate, if there is time to train it and another one fully."""
    training, centre = job.base.training, record.of(best)
    rest = 0 if centre.ended else epochs_to_come(len(centre.curve), training.patience, job.epochs)
    if centre.seconds * (rest + epochs_to_come(0, training.patience, job.epochs)) > budget.left:
        return False
    record.begin_round(best, job.epochs)
    _remove_folders(job, record)
    record.save(job.directory, budget.spent)
    return True


def _plan(job: Job, record: SearchRecord, budget: Budget) -> None:
    """Choose as many candidates for a round as fit into the time, given the seconds that epochs of the centre took."""
    training, centre = job.base.training, record.central
    if record.round > 1:
        record.rung = first_rung(training.patience, training.epochs)
    others = _untried_variants(job, record)
    to_come = epochs_to_come(record.rung, training.patience, training.epochs)
    count = 1
    if others and centre.reached(record.rung) and budget.left > centre.seconds * (record.rung + to_come):
        timed = job.epoch_time(centre) or centre.seconds
        for other in others:
            other.seconds = centre.seconds * job.epoch_time(other) / timed
        seconds = [0.0 if centre.ended else centre.seconds, *(other.seconds for other in others)]
        count = affordable(seconds, budget.left, record.rung, to_come)
    record.candidates += others[: count - 1]
    record.planned = True
    record.save(job.directory, budget.spent)
    job.say(_plan_line(record, count, bool(others)))


def _untried_variants(job: Job, record: SearchRecord) -> list[Candidate]:
    """Variants of the centre that have not been tried, the most promising first."""
    settings = candidate_settings(
        job.base,
        known_as(job.split.data),
        job.request.recipe,
        job.settings,
        job.sizes,
        [one.settings for one in record.candidates],
        record.central.settings,
    )
    return [Candidate(number, one) for number, one in enumerate(settings, start=len(record.candidates) + 1)]


def _plan_line(record: SearchRecord, count: int, more: bool) -> str:
    """The plan of a round, in one line."""
    if record.round == 1:
        each = f"{record.recipe.seconds:.3g} s per epoch"
        if count == 1:
            why = "too little time to compare settings" if more else "there are no other settings to compare"
            return f"{each}: {why}; training the recipe"
        return f"{each}: {count} candidates, the better half continues after {count_of(record.rung, 'epoch')}"
    if count == 1:
        return "no further candidate fits into the time" if more else "all settings around it have been tried"
    return f"round {record.round}, around {record.central.name}: {count_of(count - 1, 'further candidate')}"


def _remove_folders(job: Job, record: SearchRecord) -> None:
    """Remove the folders of candidates that are out, with their checkpoints."""
    for candidate in record.candidates:
        if candidate.state == "out":
            shutil.rmtree(job.folder(candidate), ignore_errors=True)


def _next_rung(job: Job, record: SearchRecord, budget: Budget) -> bool:
    """Close the rung that all candidates have reached, and return whether there is a next one and time for it."""
    values = record.values(record.rung)
    record.rungs.append(Rung(record.rung, values, record.round))
    kept = going_on(values, record.centre)
    for candidate in record.going:
        if candidate.number not in kept:
            candidate.state = "out"
    _remove_folders(job, record)
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
        f"after {count_of(record.rung, 'epoch')}, candidates {', '.join(map(str, kept))} continue to {further}"
    )
    record.rung = further
    record.save(job.directory, budget.spent)
    return True


def _rest(job: Job, record: SearchRecord, reached: int) -> float:
    """Seconds that the slowest candidate usually still needs after ``reached`` epochs."""
    slowest = max(candidate.seconds for candidate in record.going)
    return slowest * epochs_to_come(reached, job.base.training.patience, job.epochs)


def _advance(job: Job, record: SearchRecord, candidate: Candidate, budget: Budget) -> None:
    """Train a candidate to the end of the rung.

    Raises:
        OutOfTimeError: this would leave too little time for training the winner.
        KeyboardInterrupt: a signal requested a stop, and the checkpoint is written.
    """
    if candidate.reached(record.rung):
        return
    alone = not record.planned
    kept = 0.0 if alone else _rest(job, record, record.rung)
    clock = EpochClock(job.reporter, budget, kept, candidate.seconds)
    folder = job.folder(candidate)
    settings = {**job.settings, **candidate.settings, **job.limited(record.rung)}
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
        _fail(candidate, record.centre, problem)
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
    """Record the curve of a candidate and the time of its epochs."""
    history = read_history(job.folder(candidate) / "history.jsonl")
    candidate.curve = [value for epoch in history for value in epoch.metrics.values()]
    candidate.seconds = clock.seconds


def _fail(candidate: Candidate, centre: int, problem: Exception) -> None:
    """Mark a candidate as failed; the error is raised again if it is a fault of the library or the centre's."""
    ours = machine_failure(problem)
    if ours is None or candidate.number == centre:
        raise problem
    candidate.state, candidate.problem = "failed", str(ours).splitlines()[0]
