"""Stopping and resuming a training: checkpoints, and signals as requests to stop between two steps.

A checkpoint contains weights, optimiser states, position and history in one file that is written atomically.
"""

from __future__ import annotations

import json
import signal
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from torch import Tensor

from mclrec.distributed.layout import WHOLE, ParameterLayout
from mclrec.errors import ModelFileError, TrainingError
from mclrec.json_files import parse_json
from mclrec.models.directory import weights_checksum
from mclrec.models.tensors import load_tensors, read_notes, read_tensors, save_tensors
from mclrec.sealed_json import validated
from mclrec.training.identity import NOTHING_LATER, SETTING, first_difference
from mclrec.training.reporting import EpochRecord

__all__ = ["CHECKPOINT", "Checkpoints", "Position", "StopRequest", "began_with", "has_checkpoint"]

CHECKPOINT = "checkpoint"
"""Folder of the checkpoint in a run's directory."""

_STATE = "state.safetensors"


@dataclass(slots=True)
class Position:
    """Position of a run: phase, epoch, step, and the results so far.

    Attributes:
        phase: number of the phase, from 0.
        epoch: epoch of that phase, from 1.
        step: number of finished batches of that epoch.
        best_epoch: epoch of the phase with the best validation metric; 0 before the first validation.
        best_value: validation metric of that epoch.
        sums: sum of each loss term over the steps of the epoch so far.
        seconds: seconds spent in the steps of the epoch so far.
        history: records of all finished epochs.
        elapsed: seconds of training so far, including validation and the time of interrupted processes.
        threads: number of PyTorch threads, which affects the last bits of results; 0 before the run begins.
    """

    phase: int = 0
    epoch: int = 1
    step: int = 0
    best_epoch: int = 0
    best_value: float = -1.0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    history: list[EpochRecord] = field(default_factory=list)
    elapsed: float = 0.0
    threads: int = 0

    def add(self, losses: dict[str, float]) -> None:
        """Add the losses of one more step."""
        self.step += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    @property
    def means(self) -> dict[str, float]:
        """Mean losses of the epoch so far."""
        return {name: value / max(self.step, 1) for name, value in self.sums.items()}

    def next_epoch(self) -> None:
        """Move to the beginning of the next epoch."""
        self.epoch, self.step, self.sums, self.seconds = self.epoch + 1, 0, {}, 0.0

    def next_phase(self) -> None:
        """Move to the beginning of the next phase."""
        self.phase, self.epoch, self.step, self.sums, self.seconds = self.phase + 1, 1, 0, {}, 0.0
        self.best_epoch, self.best_value = 0, -1.0


def has_checkpoint(directory: Path) -> bool:
    """Whether a run's directory has a checkpoint to resume from."""
    return (directory / CHECKPOINT / _STATE).exists()


def began_with(directory: Path) -> dict[str, Any]:
    """Settings with which the run in a directory began, as recorded in its checkpoint; empty if it cannot be read.

    The settings are not validated; `Checkpoints.load` does that.
    """
    try:
        path = directory / CHECKPOINT / _STATE
        identity = parse_json(read_notes(path).get("identity", "null"), str(path), ModelFileError)
    except ModelFileError:
        return {}
    found = identity if isinstance(identity, dict) else {}
    return {key.removeprefix(SETTING): value for key, value in found.items() if key.startswith(SETTING)}


class Checkpoints:
    """The ``checkpoint`` folder of a run. Its contents do not depend on the number of processes.

    Args:
        directory: the folder; if there are several processes, all of them must have access to it.
        identity: what must be unchanged for a run to resume: configuration, seed, data.
        came_later: for keys that earlier versions did not have, the values that describe their runs.
        layout: how tensors are distributed over processes. All processes call save and load; the main one writes.
    """

    def __init__(
        self,
        directory: Path,
        identity: dict[str, Any],
        came_later: Mapping[str, Any] = NOTHING_LATER,
        layout: ParameterLayout = WHOLE,
    ) -> None:
        self._layout = layout
        self._directory, self._state = directory, directory / _STATE
        self._identity = json.loads(json.dumps(identity))
        self._came_later = came_later
        self._resumed: dict[Path, str] = {}

    def save(self, position: Position, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write the position and the tensors of each part in one atomic file."""
        tensors = {f"{part}/{name}": value for part, own in parts.items() for name, value in own.items()}
        metadata = {"position": json.dumps(asdict(position)), "identity": json.dumps(self._identity)}
        best = self._best(position.phase, position.best_epoch)
        if self._layout.processes.main and position.best_epoch:
            metadata["best"] = weights_checksum(best)
        save_tensors(self._state, tensors, metadata, self._layout)
        if self._layout.processes.main:
            for path in self._directory.glob("best-*.safetensors"):
                if path != best:
                    path.unlink(missing_ok=True)

    def load(self) -> tuple[Position, dict[str, dict[str, Tensor]]]:
        """Load the position, and the tensors by part.

        Raises:
            TrainingError: there is no checkpoint, or it belongs to another run.
            ModelFileError: the file is damaged, or not a checkpoint.
        """
        if not self._state.exists():
            raise TrainingError(f"{self._state}: no checkpoint to resume from")
        tensors, metadata = load_tensors(self._state, self._layout)
        try:
            identity, position = (
                parse_json(metadata.get(key, "null"), str(self._state), ModelFileError)
                for key in ("identity", "position")
            )
            self._compare(validated(dict[str, Any], identity, str(self._state), ModelFileError))
            reached = validated(Position, position, str(self._state), ModelFileError)
        except ModelFileError as problem:
            raise ModelFileError(f"{problem}; train from scratch into another --out") from None
        self._resumed = {self._best(reached.phase, reached.best_epoch): metadata.get("best", "")}
        parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, value in tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = value
        return reached, parts

    def save_best(self, model: dict[str, Tensor], phase: int, epoch: int) -> None:
        """Save the weights of the best epoch so far; those of earlier epochs are kept until the position is saved."""
        save_tensors(self._best(phase, epoch), model, layout=self._layout)

    def load_best(self, phase: int, epoch: int) -> dict[str, Tensor]:
        """Load the weights of the best epoch.

        Raises:
            ModelFileError: they are missing or damaged, or differ from those that the checkpoint refers to.
        """
        self._layout.processes.barrier()  # wait until they are written
        path = self._best(phase, epoch)
        tensors, _, checksum = read_tensors(path, self._layout)
        if self._resumed.get(path, checksum) != checksum:
            raise ModelFileError(
                f"{path}: not the weights of this run; train from scratch into another --out"
            )
        return tensors

    def _best(self, phase: int, epoch: int) -> Path:
        return self._directory / f"best-{phase}-{epoch}.safetensors"

    def _compare(self, saved: dict[str, Any]) -> None:
        other = first_difference(saved, self._identity, self._came_later)
        if other is not None:
            raise TrainingError(
                f"{self._state}: cannot resume with another {other.key}: the run has {other.had!r}, "
                f"now it is {other.now!r}; {other.remedy('train from scratch into another --out')}"
            )


class StopRequest:
    """Context in which Ctrl-C and SIGTERM set ``requested``; a second signal raises KeyboardInterrupt.

    Outside the main thread it has no effect.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the interface of a handler
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
