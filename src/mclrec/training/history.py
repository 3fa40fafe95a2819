"""One line an epoch: losses, validation metric, time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mclrec.files import write_text

__all__ = ["EpochRecord", "write_history"]


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch did.

    Attributes:
        phase: its phase.
        epoch: from 1.
        seconds: of training, validation not counted.
        losses: mean over the epoch's steps by ``group/part``, not weighted.
        metrics: validation metric, where the phase validates.
        best: whether it is the best so far.
        learning_rates: by parameter group.
    """

    phase: str
    epoch: int
    seconds: float
    losses: dict[str, float]
    metrics: dict[str, float]
    best: bool
    learning_rates: dict[str, float] = field(default_factory=dict)


def write_history(path: Path, records: Sequence[EpochRecord]) -> None:
    """Write all records as JSON lines, atomically: a resumed run has each epoch once."""
    write_text(path, "".join(json.dumps(asdict(record)) + "\n" for record in records))
