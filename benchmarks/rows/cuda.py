"""MCLRec and SASRec on Beauty on a CUDA device: epochs, evaluation, a whole training, and how busy the device is."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean, median
from typing import Any

from benchmarks.outcome import Outcome
from benchmarks.processes import BenchmarkError, Child
from benchmarks.rows.accuracy import RECIPE, accuracy_outcome
from benchmarks.rows.epochs import epoch_seconds, training_child
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread

__all__ = ["CUDA_ROWS", "require_cuda"]

_EPOCH_SECONDS, _TRAINING_MINUTES, _BUSY = 2.0, 3.0, 70.0
_LIMIT, _COMPILED_LIMIT, _TRAINING_LIMIT = 45.0, 60.0, 180.0
"""Seconds after which a row is killed, so that one that hangs does not use up the time of the others."""
_WARMUP = 60  # batches in which kernels are chosen, memory is reserved and code is compiled
_CUTS = (5, 10, 20)
_QUERY = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=100"]


@dataclass(frozen=True, slots=True)
class _Case:
    """A timed training.

    Attributes:
        name: name of the row, after ``cuda-``.
        title: title of the side.
        model: name in the registry.
        precision: fp32 or bf16.
        compile: whether parts of the encoder are compiled.
        graphs: whether whole steps are replayed as CUDA graphs.
        request: further keys of the request.
        target: target in seconds per epoch; None without one.
    """

    name: str
    title: str
    model: str
    precision: str
    compile: bool = False
    graphs: bool = False
    request: dict[str, Any] = field(default_factory=dict)
    target: float | None = None


_PLAIN = (
    _Case("mclrec-prefixes", "MCLRec, prefixes", "mclrec", "fp32", target=_EPOCH_SECONDS),
    _Case("mclrec-sequences", "MCLRec, sequences", "mclrec", "fp32", request={"recipe": "sequences"}),
    _Case("sasrec-prefixes", "SASRec, prefixes", "sasrec", "fp32"),
)
_CASES = [
    replace(case, name=f"{case.name}-{precision}", precision=precision)
    for case in _PLAIN
    for precision in ("fp32", "bf16")
]
_COMPILED = replace(
    _PLAIN[0], name="mclrec-prefixes-compiled", title=f"{_PLAIN[0].title}, compiled", compile=True
)
_GRAPHS = [
    replace(
        _PLAIN[0],
        name=f"mclrec-prefixes-graphs-{precision}",
        title=f"{_PLAIN[0].title}, graphs",
        precision=precision,
        graphs=True,
    )
    for precision in ("fp32", "bf16")
]


def _title(case: _Case) -> str:
    return f"an epoch of {case.title}, {case.precision}, on a CUDA device"


def require_cuda(session: Session) -> str:
    """Name of the CUDA device, with the versions of CUDA and torch.

    Raises:
        BenchmarkError: there is no device that torch can use.
    """
    found = session.run("which device", Child("benchmarks.ours.accelerator")).document
    if found["device"] is None:
        raise BenchmarkError("this machine has no CUDA device that torch can use: nothing was measured")
    return f"{found['device']}, CUDA {found['cuda']}, torch {found['versions']['torch']}"


def _measure_epoch(case: _Case, session: Session) -> Outcome:
    """Measure the seconds of an epoch, the memory on the device, and how busy the device was."""
    more = {"device": "cuda", "warmup": _WARMUP, "compile": case.compile, **case.request}
    settings = {"graphs": True} if case.graphs else {}
    child = replace(
        training_child(session, case.model, case.precision, settings, **more),
        limit=_COMPILED_LIMIT if case.compile else _LIMIT,
    )
    label = f"{case.title}, {case.precision}, cuda"
    with _utilisation() as busy:
        run = session.run(label, child)
    epoch = epoch_seconds([run])
    findings = [
        Finding(f"epoch, {label}", epoch.median, "s", case.target),
        Finding(f"batch, {label}", 1000 * fmean(run.document["batch_seconds"]), "ms"),
        Finding(f"peak memory on the device, {label}", run.document["device_bytes"] / 1e6, "MB"),
    ]
    if steady := _steady(busy):
        findings.append(Finding(f"device busy, {label}", fmean(steady), "%", _BUSY, "at least"))
    return Outcome(findings, run.document["work"], {label: epoch}, {label: [run]})


def _measure_evaluation(session: Session) -> Outcome:
    """Measure users per second of full-ranking evaluation."""
    request = {"seed": 1, "cuts": _CUTS, "passes": 5, "data": "beauty", "model": "sasrec", "device": "cuda"}
    run = session.run("evaluation, cuda", Child("benchmarks.ours.evaluation", request, limit=_LIMIT))
    users, seconds = run.document["work"]["users"], run.document["pass_seconds"]
    label = "full-ranking evaluation, SASRec, fp32, cuda"
    speed = Spread((users / median(seconds),), "users/s")
    return Outcome(
        [Finding(label, speed.median, "users/s")], run.document["work"], {label: speed}, {label: [run]}
    )


def _measure_training(session: Session) -> Outcome:
    """Measure a whole training until early stopping ends it, and the accuracy that it reaches."""
    recipe = session.recipe or RECIPE
    return accuracy_outcome(session, "cuda", (1,), _TRAINING_MINUTES, recipe, _TRAINING_LIMIT)


CUDA_ROWS: dict[str, tuple[str, Callable[[Session], Outcome]]] = {
    **{f"cuda-{case.name}": (_title(case), partial(_measure_epoch, case)) for case in (*_GRAPHS, *_CASES)},
    "cuda-evaluation": ("full-ranking evaluation on a CUDA device", _measure_evaluation),
    "cuda-accuracy": ("MCLRec on Beauty until early stopping ends it, on a CUDA device", _measure_training),
    f"cuda-{_COMPILED.name}": (_title(_COMPILED), partial(_measure_epoch, _COMPILED)),
}
"""Title and measurement of each row on a CUDA device. Each runs in its own process."""


def _steady(samples: list[float]) -> list[float]:
    """The samples from the first to the last in which the device was busy, without start-up and shutdown."""
    working = [place for place, value in enumerate(samples) if value > 0]
    return samples[working[0] : working[-1] + 1] if working else []


@contextmanager
def _utilisation() -> Iterator[list[float]]:
    """Sample the utilisation of the device, in percent, while the block runs; the list is filled at its end.

    Without ``nvidia-smi`` it stays empty.
    """
    samples: list[float] = []
    if shutil.which(_QUERY[0]) is None:
        yield samples
        return
    with tempfile.TemporaryFile("w+") as output, subprocess.Popen(_QUERY, stdout=output) as process:
        try:
            yield samples
        finally:
            process.terminate()
            process.wait()
        output.seek(0)
        samples += [float(value) for value in output.read().split() if value.replace(".", "").isdigit()]
