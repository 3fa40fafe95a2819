"""Time of a training epoch with a target at every position: ours, and each peer's as provided and at its fastest."""

from __future__ import annotations

from benchmarks.outcome import Outcome
from benchmarks.rows.epoch_peers import FEW, Peer, beside_fastest, beside_others, peer_child
from benchmarks.rows.epochs import epoch_seconds, export_beauty, training_child
from benchmarks.session import Session
from benchmarks.work import checked

__all__ = ["SEQUENCE_SIDES", "measure_sequences"]

_FLAT, _REPLAY = "rectools_flat_training", "replay_training"
_PEERS = {
    "RecTools 0.19 SASRec, fp32": Peer("rectools", "rectools_training", {"layers": "preln"}, FEW),
    "RecTools 0.19 FlatSASRecNet, fp32": Peer("rectools", _FLAT, {"places": "all", "precision": "fp32"}, FEW),
    "RecTools 0.19 FlatSASRecNet, loss at targets alone, fp32": Peer(
        "rectools", _FLAT, {"places": "real", "precision": "fp32"}
    ),
    "RecTools 0.19 FlatSASRecNet, loss at targets alone, bf16": Peer(
        "rectools", _FLAT, {"places": "real", "precision": "bf16"}
    ),
    "RePlay 0.22 SasRec, fp32": Peer("replay-rec", _REPLAY, {"parts": "template"}, FEW),
    "RePlay 0.22 SasRec, length buckets, loss at targets alone, fp32": Peer(
        "replay-rec", _REPLAY, {"parts": "fast"}
    ),
    "Transformers4Rec 23.12 GPT-2, fp32": Peer("transformers4rec", "transformers4rec_training"),
}
_OURS = ("SASRec, fp32", "SASRec, bf16")
_TARGETS = {"RecTools 0.19 SASRec, fp32": 25.0}
_BATCH, _LENGTH = 128, 50
_NOTES = (
    "RecTools' SASRec layers have an inner width of 64; compared are its pre-norm ones, which have ours.",
    "RecTools' flat network has no trainer: the loop is ours.",
    "RePlay also predicts each user's first item, from nothing, which is left out. Its length buckets fail under bf16.",
    "Transformers4Rec's GPT-2 has the blocks of SASRec, and one place more for the last target.",
    "Peers leave out items that no training sequence shows; so does our side here.",
)

SEQUENCE_SIDES = (*_PEERS, *_OURS)
"""The sides that the row compares."""


def measure_sequences(session: Session) -> Outcome:
    """Measure an epoch of SASRec with a target at every position, against RecTools, RePlay and Transformers4Rec."""
    settings = {"unit": "sequences", "loss": "softmax", "batch_size": _BATCH}
    inter = export_beauty(session)
    sides = {side: peer_child(session, peer, inter, batch=_BATCH) for side, peer in _PEERS.items()} | {
        side: training_child(
            session, "sasrec", side.rpartition(" ")[2], settings, recipe="default", newest=_LENGTH + 1
        )
        for side in _OURS
    }
    runs = session.take_turns(sides)
    work = checked(runs)
    epochs = {side: epoch_seconds(of_side) for side, of_side in runs.items()}
    return Outcome(
        findings=[
            *(beside_fastest(epochs, side, "at least", _TARGETS) for side in _OURS),
            *(found for side in _OURS for found in beside_others(epochs, side, "at least", _TARGETS)),
        ],
        work=work,
        sides=epochs,
        runs=runs,
        notes=_NOTES,
    )
