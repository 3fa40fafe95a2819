"""Time of a training epoch, ours and the peers', on the same examples, batches and sizes (see `benchmarks.work`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.machine import native_bf16
from benchmarks.outcome import Outcome
from benchmarks.processes import Child, Measurement
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread, quantity
from benchmarks.work import check_initial_loss, check_same_work

__all__ = ["epoch_seconds", "export_beauty", "measure_prefixes", "measure_sequences", "training_child"]

_RECBOLE = "RecBole 1.2.1 SASRec, fp32"
_RECTOOLS = "RecTools 0.19 SASRec, fp32"
_RECTOOLS_OWN = "RecTools 0.19 SASRec with inner width 64, fp32"
_RECTOOLS_SHARE = (
    0.35  # of the batches, in each round: three make a hundred, and each takes more than a second
)
_COMPILING = 4
"""Factor on our warm-up batches: in bf16, kernels are compiled for the shapes of the first batches."""
_DEEP = {"max_length": 50, "batch": 128, "hidden_size": 64, "blocks": 2, "heads": 2, "dropout": 0.5}


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
        "warmup": _COMPILING * session.budget.warmup,
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
    work = _checked(runs)
    epochs = {side: epoch_seconds(of_side) for side, of_side in runs.items()}
    return Outcome(
        findings=[
            _share(epochs, "MCLRec, fp32", _RECBOLE, 0.25),
            _share(epochs, "MCLRec, bf16", _RECBOLE, 0.17 if native_bf16() else None),
            _times_faster(epochs, "SASRec, fp32", _RECBOLE, 15),
            _times_faster(epochs, "SASRec, bf16", _RECBOLE, 15),
        ],
        work=work,
        sides=epochs,
        runs=runs,
        notes=[
            "MCLRec makes three updates a batch and encodes two further views; RecBole's SASRec makes one update."
        ],
    )


def measure_sequences(session: Session) -> Outcome:
    """Measure an epoch of SASRec with a target at every position, against RecTools' SASRec."""
    request = {
        **_DEEP,
        "inter": str(export_beauty(session)),
        "seed": 1,
        "batches": max(2, round(_RECTOOLS_SHARE * session.budget.batches)),
        "warmup": session.budget.warmup,
    }
    python = session.python_of("rectools")
    settings = {"unit": "sequences", "loss": "softmax", "batch_size": _DEEP["batch"]}
    sides = {
        side: Child("benchmarks.peers.rectools_training", {**request, "layers": layers}, python)
        for side, layers in ((_RECTOOLS, "preln"), (_RECTOOLS_OWN, "own"))
    } | {
        f"SASRec, {precision}": training_child(
            session, "sasrec", precision, settings, recipe="default", newest=_DEEP["max_length"] + 1
        )
        for precision in ("fp32", "bf16")
    }
    runs = session.take_turns(sides)
    work = _checked({side: of_side for side, of_side in runs.items() if side != _RECTOOLS_OWN})
    epochs = {side: epoch_seconds(of_side) for side, of_side in runs.items()}
    return Outcome(
        findings=[
            _times_faster(epochs, "SASRec, fp32", _RECTOOLS, 25),
            _times_faster(epochs, "SASRec, bf16", _RECTOOLS, 25),
            _times_faster(epochs, "SASRec, fp32", _RECTOOLS_OWN, None),
        ],
        work=work,
        sides=epochs,
        runs=runs,
        notes=[
            "RecTools' SASRec layers have an inner width of 64; compared are its pre-norm ones, which have ours.",
            "RecTools leaves out items that no training sequence shows; so does our side here.",
        ],
    )


def _checked(runs: Mapping[str, Sequence[Measurement]]) -> dict[str, Any]:
    """The work of all sides, after checking that it was the same and a full softmax."""
    for side, of_side in runs.items():
        for run in of_side:
            check_initial_loss(side, run.document)
    return check_same_work(runs)


def _share(epochs: Mapping[str, Spread], ours: str, theirs: str, target: float | None) -> Finding:
    value = epochs[ours].median / epochs[theirs].median
    return Finding(f"epoch: {ours} / {theirs}", value, "x", target, "at most", *_cells(epochs, ours, theirs))


def _times_faster(epochs: Mapping[str, Spread], ours: str, theirs: str, target: float | None) -> Finding:
    value = epochs[theirs].median / epochs[ours].median
    return Finding(f"epoch: {theirs} / {ours}", value, "x", target, "at least", *_cells(epochs, ours, theirs))


def _cells(epochs: Mapping[str, Spread], ours: str, theirs: str) -> tuple[str, str]:
    return quantity(epochs[ours].median, "s"), quantity(epochs[theirs].median, "s")
