"""MCLRec on Beauty on a CUDA device: an epoch, a whole training, and how busy the device is."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean

from benchmarks.outcome import Outcome
from benchmarks.processes import BenchmarkError, Child
from benchmarks.rows.accuracy import accuracy_outcome
from benchmarks.rows.epochs import training_child
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread

__all__ = ["measure_cuda"]

_EPOCH_SECONDS, _TRAINING_MINUTES, _BUSY = 2.0, 3.0, 70.0
_BATCHES = 514  # of an epoch on Beauty: 131,413 prefixes, 256 a batch
_EPOCHS = 4  # timed, after one that compiles and warms up
_QUERY = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=200"]


def measure_cuda(session: Session) -> Outcome:
    """Measure the seconds per epoch, the utilisation of the device, and a whole training.

    Raises:
        BenchmarkError: there is no CUDA device.
    """
    found = session.run("which device", Child("benchmarks.ours.accelerator")).document
    if found["device"] is None:
        raise BenchmarkError("this machine has no CUDA device that torch can use: nothing was measured")
    child = training_child(
        session, "mclrec", "bf16", device="cuda", batches=_EPOCHS * _BATCHES, warmup=_BATCHES
    )
    with _utilisation() as busy:
        run = session.run("MCLRec, bf16, cuda", child)
    seconds = run.document["batch_seconds"]
    # Single steps are not timed well while work is queued; an epoch ends when its last step is done.
    epochs = Spread(
        tuple(sum(seconds[start : start + _BATCHES]) for start in range(0, len(seconds), _BATCHES)), "s"
    )
    whole = accuracy_outcome(session, "cuda", (1,), _TRAINING_MINUTES, session.recipe or "beauty")
    name = found["device"]
    return Outcome(
        findings=[
            Finding(f"epoch, MCLRec, bf16, {name}", epochs.median, "s", _EPOCH_SECONDS),
            Finding(
                f"epoch, MCLRec, bf16, {name}: device busy", fmean(_steady(busy)), "%", _BUSY, "at least"
            ),
            *whole.findings,
        ],
        work=run.document["work"],
        sides={"MCLRec, bf16": epochs, **whole.sides},
        runs={"MCLRec, bf16": [run], **whole.runs},
        notes=[f"{name}, CUDA {found['cuda']}"],
    )


def _steady(samples: list[float]) -> list[float]:
    """The samples from the first to the last in which the device was busy, which leaves out start and end."""
    working = [place for place, value in enumerate(samples) if value > 0]
    if not working:
        raise BenchmarkError("the device was never busy while the child ran: did the child use another one?")
    return samples[working[0] : working[-1] + 1]


@contextmanager
def _utilisation() -> Iterator[list[float]]:
    """Sample the utilisation of the device, in percent, while the block runs; the list is filled at its end."""
    samples: list[float] = []
    with tempfile.TemporaryFile("w+") as output, subprocess.Popen(_QUERY, stdout=output) as process:
        try:
            yield samples
        finally:
            process.terminate()
            process.wait()
        output.seek(0)
        samples += [float(line) for line in output.read().split()]
