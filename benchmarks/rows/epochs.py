"""Time of a training epoch on prefixes, ours and the peers', with the same examples, batches and sizes (see `work`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.machine import native_bf16
from benchmarks.outcome import Outcome
from benchmarks.processes import Child, Measurement
from benchmarks.rows.epoch_peers import COMPILING, Peer, beside_fastest, beside_others, peer_child
from benchmarks.session import Session
from benchmarks.summary import Spread
from benchmarks.work import checked

__all__ = ["PREFIX_SIDES", "epoch_seconds", "export_beauty", "measure_prefixes", "training_child"]

_RECBOLE = "RecBole 1.2.1 SASRec, fp32"
_FLAT = "rectools_flat_training"
_PEERS = {
    _RECBOLE: Peer("recbole", "recbole_training", {"cuts": [5, 10, 20]}),
    "RecTools 0.19 FlatSASRecNet, fp32": Peer("rectools", _FLAT, {"places": "real", "precision": "fp32"}),
    "RecTools 0.19 FlatSASRecNet, bf16": Peer("rectools", _FLAT, {"places": "real", "precision": "bf16"}),
    "RePlay 0.22 SasRec, length buckets, fp32": Peer("replay-rec", "replay_training", {"parts": "fast"}),
    "Transformers4Rec 23.12 GPT-2, fp32": Peer("transformers4rec", "transformers4rec_training"),
}
_MCLREC, _SASREC = (
    tuple(f"{name}, {precision}" for precision in ("fp32", "bf16")) for name in ("MCLRec", "SASRec")
)
_TIMES = {_RECBOLE: 15.0}
_BATCH = 256

PREFIX_SIDES = (*_PEERS, *_MCLREC, *_SASREC)
"""The sides that the row compares."""


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
    """Measure an epoch of MCLRec and of SASRec on prefixes, against the peers' SASRec."""
    inter = export_beauty(session)
    sides = {
        side: peer_child(session, peer, inter, unit="prefixes", batch=_BATCH) for side, peer in _PEERS.items()
    } | {
        side: training_child(session, side.partition(",")[0].lower(), side.rpartition(" ")[2])
        for side in (*_MCLREC, *_SASREC)
    }
    runs = session.take_turns(sides)
    work = checked(runs)
    epochs = {side: epoch_seconds(of_side) for side, of_side in runs.items()}
    shares = dict(zip(_MCLREC, ({_RECBOLE: 0.25}, {_RECBOLE: 0.17} if native_bf16() else {}), strict=True))
    return Outcome(
        findings=[
            *(beside_fastest(epochs, side, "at most", shares[side]) for side in _MCLREC),
            *(beside_fastest(epochs, side, "at least", _TIMES) for side in _SASREC),
            *(found for side in _MCLREC for found in beside_others(epochs, side, "at most", shares[side])),
            *(found for side in _SASREC for found in beside_others(epochs, side, "at least", _TIMES)),
        ],
        work=work,
        sides=epochs,
        runs=runs,
        notes=[
            "MCLRec makes three updates a batch and encodes two further views; the peers' SASRec makes one update.",
            "On prefixes, peers but RecBole are as they are fastest: loss at targets alone, RePlay's length buckets.",
        ],
    )
