"""Private memory of a process that trains from prepared data on the disk."""

from __future__ import annotations

import shutil
import sys

from benchmarks.outcome import Outcome
from benchmarks.processes import BenchmarkError, Child, Measurement
from benchmarks.session import Session
from benchmarks.summary import Finding, quantity

__all__ = ["measure_streaming"]

_ITEMS, _LENGTH = 10_000, 98  # of a training history: two more are held out
_REFERENCE_DIVISOR = 100  # the reference data are smaller; their memory is that of the process and of a step
_DISK_AN_INTERACTION = 10  # bytes: all items, the training items, users
_TARGET_INTERACTIONS = 100_000_000
_GIGABYTES = 0.4  # four bytes per interaction: memory grows by less than the data


def measure_streaming(session: Session) -> Outcome:
    """Measure training steps of SASRec with its default recipe, on synthetic histories of one length.

    Raises:
        BenchmarkError: not on Linux, or too little disk space.
    """
    if sys.platform != "linux":
        raise BenchmarkError("private memory is read from /proc, which only Linux has")
    count = session.budget.streamed
    if shutil.disk_usage(session.scratch).free < count * _DISK_AN_INTERACTION:
        raise BenchmarkError(f"{session.scratch}: too little room for {count:,} interactions; see --scratch")
    small, large = _trained(session, count // _REFERENCE_DIVISOR), _trained(session, count)
    before, held = (run.document["private_bytes"] / 1e9 for run in (small, large))
    what = f"training from prepared data, {_name(count)}"
    return Outcome(
        findings=[
            Finding(
                f"{what}: private memory beyond that at {_name(count // _REFERENCE_DIVISOR)}",
                held - before,
                "GB",
                _GIGABYTES if count == _TARGET_INTERACTIONS else None,
                ours=f"{quantity(held, 'GB')} in all",
                theirs=f"{quantity(before, 'GB')} in all",
            ),
            Finding(f"{what}: peak memory, pages of files included", large.peak_bytes / 1e9, "GB"),
        ],
        runs={_name(count // _REFERENCE_DIVISOR): [small], _name(count): [large]},
    )


def _trained(session: Session, count: int) -> Measurement:
    """Draw and save data, and train on them in another process."""
    folder = session.scratch / "prepared"
    data = {"users": count // (_LENGTH + 2), "items": _ITEMS, "length": _LENGTH}
    request = {
        "data": str(folder),
        "model": "sasrec",
        "recipe": "default",
        "settings": {"precision": "fp32"},
        "seed": 1,
        "batches": session.budget.batches,
        "warmup": session.budget.warmup,
    }
    try:
        session.run(
            f"drawing {_name(count)}",
            Child("benchmarks.ours.prepared", {"path": str(folder), "data": data}),
        )
        return session.run(_name(count), Child("benchmarks.ours.streaming", request))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _name(count: int) -> str:
    return f"{count / 1e6:g} million interactions"
