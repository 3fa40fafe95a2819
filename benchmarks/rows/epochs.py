"""Time of a training epoch on prefixes, ours and RecBole's: the same examples, batches and sizes (see `work`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.comparison import fastest, finding
from benchmarks.machine import native_bf16
from benchmarks.outcome import Outcome
from benchmarks.processes import Child, Measurement
from benchmarks.session import Session
from benchmarks.summary import Spread
from benchmarks.work import checked

__all__ = [
    "COMPILING",
    "PREFIX_SIDES",
    "epoch_seconds",
    "export_beauty",
    "measure_prefixes",
    "training_child",
]

_RECBOLE = "RecBole 1.2.1 SASRec, fp32"
COMPILING = 4
"""Factor on our warm-up batches: in bf16, kernels are compiled for the shapes of the first batches."""

PREFIX_SIDES = (_RECBOLE, "MCLRec, fp32", "SASRec, fp32", "MCLRec, bf16", "SASRec, bf16")
"""What the row compares."""


def training_child(
    session: Session, model: str, precision: str, settings: Mapping[str, Any] | None = None, **more: Any
) -> Child:
    """A child that trains a model of ours on Beauty for some batches; ``more`` overrides keys of the request."""
    request = {
        "data": "beauty",
        "model": model,
        "settings": {"precision": precision, **(settings or {})},
        "seed": 1,
        "batches": session.budget.batches,
        "warmup": COMPILING * session.budget.warmup,
    }
    return Child("benchmarks.ours.training", {**request, **more})


def export_beauty(session: Session) -> Path:
    """Export Beauty to a file that the peers read."""
    path = session.scratch / "beauty" / "beauty.inter"
    if not path.exists():
        session.run(
            "Beauty for the peers",
            Child("benchmarks.ours.export", {"data": "beauty", "path": str(path)}),
        )
    return path


def epoch_seconds(runs: Sequence[Measurement]) -> Spread:
    """Seconds per epoch in each round: the mean time of a batch times the number of batches."""
    documents = [run.document for run in runs]
    return Spread(
        tuple(fmean(document["batch_seconds"]) * document["batches_per_epoch"] for document in documents), "s"
    )


def measure_prefixes(session: Session) -> Outcome:
    """Measure an epoch of MCLRec and of SASRec on prefixes, against RecBole's SASRec."""
    recbole = Child(
        "benchmarks.peers.recbole_training",
        {
            "inter": str(export_beauty(session)),
            "scratch": str(session.scratch),
            "batch": 256,
            "max_length": 50,
            "cuts": [5, 10, 20],
            "seed": 1,
            "batches": session.budget.batches,
            "warmup": session.budget.warmup,
        },
        session.python_of("recbole"),
    )
    sides = {_RECBOLE: recbole} | {
        f"{label}, {precision}": training_child(session, model, precision)
        for precision in ("fp32", "bf16")
        for model, label in (("mclrec", "MCLRec"), ("sasrec", "SASRec"))
    }
    runs = session.take_turns(sides)
    work = checked(runs)
    epochs = {side: epoch_seconds(of_side) for side, of_side in runs.items()}
    shares = {"fp32": 0.25, "bf16": 0.17 if native_bf16() else None}
    return Outcome(
        findings=[
            *(
                finding("epoch", epochs, side, fastest(epochs, side), target, "at most")
                for side, target in ((f"MCLRec, {precision}", target) for precision, target in shares.items())
            ),
            *(
                finding("epoch", epochs, fastest(epochs, side), side, 15, "at least")
                for side in ("SASRec, fp32", "SASRec, bf16")
            ),
        ],
        work=work,
        sides=epochs,
        runs=runs,
        notes=[
            "MCLRec makes three updates a batch and encodes two further views; RecBole's SASRec makes one update."
        ],
    )
