"""Time of a training step with one thread and with all, on an idle and on a busy machine, and our rule's choice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import product

from benchmarks.child import Document
from benchmarks.load.spinning import busy
from benchmarks.machine import first_cores
from benchmarks.outcome import Outcome
from benchmarks.processes import BenchmarkError, Child, Measurement
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread, quantity
from mclrec.threads import prepare_environment

__all__ = ["measure_threads", "step_milliseconds", "taken_threads", "thread_words"]

_MODELS = {"sasrec": "SASRec", "mclrec": "MCLRec"}
_BATCHES = (16, 128)
_STEPS = 5
_CHOICES = 3
_REGRET = 1.2
"""How much slower than the best number of threads the chosen one may be: the rule's own margin."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """A training under load.

    Attributes:
        model: name in the registry.
        batch: prefixes in a batch.
        spinning: cores that other processes keep busy.
        cores: number of available cores.
    """

    model: str
    batch: int
    spinning: int
    cores: int

    @property
    def name(self) -> str:
        load = {0: "free", self.cores: "all cores busy"}.get(self.spinning, "one core busy")
        return f"{_MODELS[self.model]}, batch {self.batch}, {load}"


def measure_threads(session: Session) -> Outcome:
    """Measure a step of SASRec and of MCLRec on prefixes of Beauty, with small and large batches, idle and busy."""
    cores = session.cores or first_cores(session.threads) or tuple(range(session.threads))
    if session.threads == 1:
        raise BenchmarkError("one thread is all there is: nothing to choose")
    loads = sorted({0, 1, len(cores)})
    findings: list[Finding] = []
    runs: dict[str, list[Measurement]] = {}
    for model, batch, spinning in product(_MODELS, _BATCHES, loads):
        cell = _Cell(model, batch, spinning, len(cores))
        with busy(cores[:spinning]):
            run = session.run(cell.name, _child(session, cell))
        runs[cell.name] = [run]
        findings.append(_finding(cell, run.document))
    return Outcome(findings=findings, runs=runs)


def _child(session: Session, cell: _Cell) -> Child:
    """A child in the environment that the command line makes for itself under this load."""
    environment: dict[str, str] = {}
    prepare_environment(environment)
    threads = {name: str(session.threads) for name in environment if name.endswith("NUM_THREADS")}
    request = {
        "data": "beauty",
        "model": cell.model,
        "recipe": "default",
        "settings": {"precision": "fp32", "batch_size": cell.batch},
        "seed": 1,
        "counts": [1, session.threads],
        "rounds": session.budget.thread_rounds,
        "steps": _STEPS,
        "choices": min(_CHOICES, session.budget.thread_rounds),
    }
    return Child("benchmarks.ours.thread_steps", request, environment=environment | threads)


def _finding(cell: _Cell, document: Document) -> Finding:
    """How much slower than the best number of threads the chosen one is."""
    steps, taken = step_milliseconds(document), taken_threads(document)
    best = min(steps, key=lambda count: steps[count].median)
    return Finding(
        f"a step, {cell.name}: the number of threads that the rule takes / the best",
        steps[taken].median / steps[best].median,
        "x",
        _REGRET,
        "at most",
        f"{quantity(steps[taken].median, 'ms')} by {thread_words(taken)}",
        f"{quantity(steps[best].median, 'ms')} by {thread_words(best)}",
    )


def step_milliseconds(document: Document) -> dict[int, Spread]:
    """Milliseconds of a step by the number of threads, from the document of a cell."""
    return {
        int(count): Spread(tuple(1000 * value for value in seconds), "ms")
        for count, seconds in document["step_seconds"].items()
    }


def taken_threads(document: Document) -> int:
    """The number of threads that the rule chose most often."""
    chosen: list[int] = document["chosen"]
    return Counter(chosen).most_common(1)[0][0]


def thread_words(count: int) -> str:
    """A number of threads in words."""
    return f"{count} thread{'s' if count != 1 else ''}"
