"""One training run of a campaign, and the key that tells it from all others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mclrec.data.sequences import SequenceData
from mclrec.data.statistics import of_length
from mclrec.errors import ConfigError
from mclrec.recipes import Recipe, resolve
from mclrec.runs.command import train_command
from mclrec.runs.run import LABELS, Run, ranks_path
from mclrec.runs.sources import open_source

__all__ = [
    "Cell",
    "Cells",
    "Datasets",
    "command",
    "data_name",
    "finished",
    "measured",
    "noisy_part",
    "unmeasured",
]

_NO_PART = {"checkpoint_minutes"}
"""Settings of training that do not change what comes out."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is trained.

    Attributes:
        data: name of a data set, or path of a log.
        model: name of a registered model.
        recipe: section of its recipes; the data set's own if None.
        settings: go before the recipe's.
        seed: of everything random.
        lengths: only users with so many interactions, shortest and longest (None for no bound), are trained on and
            evaluated; all if None.
        noise: shares of random items in the test histories that the run is measured with too.
    """

    data: str
    model: str
    recipe: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 1
    lengths: tuple[int, int | None] | None = None
    noise: tuple[float, ...] = ()


class Datasets:
    """Data sets by name or path, each read once."""

    def __init__(self) -> None:
        self._read: dict[str, SequenceData] = {}

    def __getitem__(self, place: str) -> SequenceData:
        if place not in self._read:
            self._read[place] = open_source(place)[0]
        return self._read[place]

    def of(self, cell: Cell) -> SequenceData:
        """The data that a cell trains on."""
        data = self[cell.data]
        return data if cell.lengths is None else of_length(data, *cell.lengths)


class Cells:
    """The directories of a campaign's cells. Two cells that come to the same settings are one.

    Args:
        folder: holds one run directory a cell.
        datasets: where data come from.
        track: what runs are tracked with; see `TrainRequest`.
    """

    def __init__(self, folder: Path, datasets: Datasets | None = None, track: str | None = None) -> None:
        self.folder, self.track = folder, track
        self.datasets = datasets or Datasets()

    def recipe(self, cell: Cell) -> Recipe:
        """The cell's settings, resolved.

        Raises:
            ConfigError: unknown model, section or key.
        """
        return resolve(cell.model, self.datasets[cell.data].name, cell.recipe, cell.settings)

    def key(self, cell: Cell) -> str:
        """Twelve hexadecimal digits of everything that decides the result."""
        recipe = self.recipe(cell)
        training = recipe.training.model_dump(mode="json")
        identity = {
            "model": recipe.model,
            "config": recipe.config.model_dump(mode="json", by_alias=True),
            "training": {name: value for name, value in training.items() if name not in _NO_PART},
            "data": self.datasets[cell.data].fingerprint,
            "lengths": cell.lengths,
            "seed": cell.seed,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]

    def directory(self, cell: Cell) -> Path:
        """Where the cell's run is or will be."""
        return self.folder / f"{self.datasets[cell.data].name}-{cell.model}-{self.key(cell)}"

    def done(self, cell: Cell) -> bool:
        """Whether its run is finished, and measured in every way that the cell asks for."""
        return measured(self.directory(cell), cell.noise)

    def run(self, cell: Cell) -> Run:
        """Its finished run.

        Raises:
            ConfigError: it is not finished.
        """
        if not self.done(cell):
            raise ConfigError(f"{self.directory(cell)}: is not finished")
        return Run(self.directory(cell))


def data_name(place: str) -> str:
    """How data are called in titles: by their name, or by the last part of their path."""
    return Path(place).stem


def command(cell: Cell) -> str:
    """The command line that does the cell alone; for chosen users there is none, and it says which they are."""
    line = train_command(cell.data, cell.model, cell.seed, recipe=cell.recipe, settings=cell.settings)
    if cell.lengths is None:
        return line
    shortest, longest = cell.lengths
    return f"{line}  # on users with {shortest} to {longest or 'any number of'} interactions"


def noisy_part(share: float) -> str:
    """How ranks behind histories with some noise are called, beside ``test``."""
    return f"test-noise-{share:g}"


def measured(directory: Path, noise: Iterable[float]) -> bool:
    """Whether a directory holds a finished run, with ranks behind each share of noise."""
    return finished(directory) and not any(unmeasured(directory, share) for share in noise)


def unmeasured(directory: Path, share: float) -> bool:
    """Whether the run's ranks behind so much noise are missing."""
    return not all(ranks_path(directory, noisy_part(share), label).exists() for label in LABELS)


def finished(directory: Path) -> bool:
    """Whether a directory holds a finished run."""
    return (directory / "metrics.json").exists() and Run(directory).record["status"] == "finished"
