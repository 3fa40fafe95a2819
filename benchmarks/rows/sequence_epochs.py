"""Time of a training epoch with a target at every position, ours and each peer's as it offers it and at its fastest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.comparison import fastest, finding, peers
from benchmarks.outcome import Outcome
from benchmarks.processes import Child
from benchmarks.rows.epochs import COMPILING, epoch_seconds, export_beauty, training_child
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread
from benchmarks.work import checked

__all__ = ["SEQUENCE_SIDES", "measure_sequences"]

_DEEP = {"max_length": 50, "batch": 128, "hidden_size": 64, "blocks": 2, "heads": 2, "dropout": 0.5}


@dataclass(frozen=True, slots=True)
class _Peer:
    """A peer's side.

    Attributes:
        environment: name of its requirements.
        module: what measures it.
        request: further keys of the request.
        share: of the session's batches in each round; where a batch takes seconds, few are enough.
        target: how many times as fast ours has to be; None without one.
    """

    environment: str
    module: str
    request: Mapping[str, Any] = field(default_factory=dict)
    share: float = 0.35
    target: float | None = None


_FEW = 0.1
_FLAT, _REPLAY = "rectools_flat_training", "replay_training"
_PEERS = {
    "RecTools 0.19 SASRec, fp32": _Peer(
        "rectools", "rectools_training", {"layers": "preln"}, _FEW, target=25
    ),
    "RecTools 0.19 FlatSASRecNet, fp32": _Peer(
        "rectools", _FLAT, {"places": "all", "precision": "fp32"}, _FEW
    ),
    "RecTools 0.19 FlatSASRecNet, loss at targets alone, fp32": _Peer(
        "rectools", _FLAT, {"places": "real", "precision": "fp32"}
    ),
    "RecTools 0.19 FlatSASRecNet, loss at targets alone, bf16": _Peer(
        "rectools", _FLAT, {"places": "real", "precision": "bf16"}
    ),
    "RePlay 0.22 SasRec, fp32": _Peer("replay-rec", _REPLAY, {"parts": "template"}, _FEW),
    "RePlay 0.22 SasRec, length buckets, loss at targets alone, fp32": _Peer(
        "replay-rec", _REPLAY, {"parts": "fast"}
    ),
    "Transformers4Rec 23.12 GPT-2, fp32": _Peer("transformers4rec", "transformers4rec_training"),
}
_OURS = ("SASRec, fp32", "SASRec, bf16")
_NOTES = (
    "RecTools' SASRec layers have an inner width of 64; compared are its pre-norm ones, which have ours.",
    "RecTools' flat network has no trainer: the loop is ours.",
    "RePlay also predicts each user's first item, from nothing, which is left out. Its length buckets fail under bf16.",
    "Transformers4Rec's GPT-2 has the blocks of SASRec, and one place more for the last target.",
    "Peers leave out items that no training sequence shows; so does our side here.",
)

SEQUENCE_SIDES = (*_PEERS, *_OURS)
"""What the row compares."""


def measure_sequences(session: Session) -> Outcome:
    """Measure an epoch of SASRec with a target at every position, against RecTools, RePlay and Transformers4Rec."""
    settings = {"unit": "sequences", "loss": "softmax", "batch_size": _DEEP["batch"]}
    newest = int(_DEEP["max_length"]) + 1
    sides = {side: _child(session, peer) for side, peer in _PEERS.items()} | {
        side: training_child(
            session, "sasrec", side.rpartition(" ")[2], settings, recipe="default", newest=newest
        )
        for side in _OURS
    }
    runs = session.take_turns(sides)
    work = checked(runs)
    epochs = {side: epoch_seconds(of_side) for side, of_side in runs.items()}
    return Outcome(
        findings=list(_findings(epochs)),
        work=work,
        sides=epochs,
        runs=runs,
        notes=_NOTES,
    )


def _child(session: Session, peer: _Peer) -> Child:
    warmup = session.budget.warmup
    if peer.share == _FEW:
        warmup = max(2, warmup // 3)
    elif peer.request.get("precision") == "bf16":
        warmup *= COMPILING
    request = {
        **_DEEP,
        "inter": str(export_beauty(session)),
        "scratch": str(session.scratch),
        "seed": 1,
        "batches": max(2, round(peer.share * session.budget.batches)),
        "warmup": warmup,
        **peer.request,
    }
    return Child(f"benchmarks.peers.{peer.module}", request, session.python_of(peer.environment))


def _findings(epochs: Mapping[str, Spread]) -> Iterator[Finding]:
    """Ours beside the fastest peer, then beside each."""
    best = {side: fastest(epochs, side) for side in _OURS}
    for side, peer in best.items():
        yield finding("epoch, fastest peer", epochs, peer, side, _PEERS[peer].target, "at least")
    for side in _OURS:
        for peer in peers(epochs, side.rpartition(" ")[2]):
            if peer != best[side]:
                yield finding("epoch", epochs, peer, side, _PEERS[peer].target, "at least")
