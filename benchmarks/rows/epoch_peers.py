"""Peers of the epoch rows: the module that measures each, its number of batches, and findings against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.comparison import fastest, finding, peers
from benchmarks.processes import Child
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread

__all__ = ["COMPILING", "FEW", "Peer", "beside_fastest", "beside_others", "peer_child"]

COMPILING = 4
"""Factor on the warm-up in bf16: kernels are compiled for the shapes of the first batches."""

FEW = 0.1
"""Share of the batches that is enough where a batch takes seconds."""

_SIZES = {"max_length": 50, "hidden_size": 64, "blocks": 2, "heads": 2, "dropout": 0.5}


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's side.

    Attributes:
        environment: name of its requirements file.
        module: module that measures it.
        request: further keys of the request.
        share: share of the session's batches that it trains in each round.
    """

    environment: str
    module: str
    request: Mapping[str, Any] = field(default_factory=dict)
    share: float = 0.35


def peer_child(session: Session, peer: Peer, inter: Path, **more: Any) -> Child:
    """A child that trains a peer for some batches; ``more`` are request keys that all peers of the row share."""
    warmup = session.budget.warmup
    if peer.share == FEW:
        warmup = max(2, warmup // 3)
    elif peer.request.get("precision") == "bf16":
        warmup *= COMPILING
    request = {
        **_SIZES,
        "inter": str(inter),
        "scratch": str(session.scratch),
        "seed": 1,
        "batches": max(2, round(peer.share * session.budget.batches)),
        "warmup": warmup,
        **more,
        **peer.request,
    }
    return Child(f"benchmarks.peers.{peer.module}", request, session.python_of(peer.environment))


def beside_fastest(
    epochs: Mapping[str, Spread],
    ours: str,
    sense: Literal["at most", "at least"],
    targets: Mapping[str, float],
) -> Finding:
    """Ours against the fastest peer: how many times as fast (``at least``), or our share of its time (``at most``)."""
    peer = fastest(epochs, ours)
    over, under = (peer, ours) if sense == "at least" else (ours, peer)
    return finding("epoch, fastest peer", epochs, over, under, targets.get(peer), sense)


def beside_others(
    epochs: Mapping[str, Spread],
    ours: str,
    sense: Literal["at most", "at least"],
    targets: Mapping[str, float],
) -> Iterator[Finding]:
    """Ours against the other peers in its precision, and against those that have a target.

    Args:
        epochs: seconds per epoch, by side.
        ours: our side.
        sense: as in `beside_fastest`.
        targets: targets by peer.
    """
    others = {*peers(epochs, ours.rpartition(" ")[2]), *targets} - {fastest(epochs, ours)}
    for peer in (side for side in epochs if side in others):
        over, under = (peer, ours) if sense == "at least" else (ours, peer)
        yield finding("epoch", epochs, over, under, targets.get(peer), sense)
