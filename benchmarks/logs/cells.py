"""Logs, systems and targets of the comparison, and its cells: one log, one system, one seed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.processes import BenchmarkError

__all__ = ["LOGS", "SYSTEMS", "Cell", "Log", "System", "plan"]

_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Log:
    """A log, and the targets of `mclrec train` on it.

    Attributes:
        file: name of the file, which is in the folder that MCLREC_DATA names or in the package.
        columns: columns that are not guessed, by the option that names them: ``item`` for ``--item-column``.
        seconds: time in which the whole command should end; None without a target.
        metric: protocol and name of the metric that has a target.
        least: value that the metric should reach; None without a target.
    """

    file: str
    columns: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    metric: tuple[str, str] = ("F", "NDCG@10")
    least: float | None = None

    def path(self) -> Path:
        """Path of the log.

        Raises:
            BenchmarkError: the file is in neither place.
        """
        package = importlib.util.find_spec("mclrec")
        places = [
            Path(place) / "data" / "bundled"
            for place in (package and package.submodule_search_locations) or ()
        ]
        if folder := os.environ.get("MCLREC_DATA"):
            places.insert(0, Path(folder))
        for place in places:
            if (place / self.file).is_file():
                return place / self.file
        raise BenchmarkError(f"{self.file}: not found; put it into a folder and name that in MCLREC_DATA")

    def options(self) -> list[str]:
        """Command-line options that name the columns."""
        return [word for name, column in self.columns.items() for word in (f"--{name}-column", column)]


@dataclass(frozen=True, slots=True)
class System:
    """A system with its default settings.

    Attributes:
        title: its name in tables.
        kind: ``ours``, or the peer whose environment it runs in.
        words: further arguments of `mclrec train`; for a peer, the network that its child builds.
        seeds: number of seeds to train.
        boxed: whether its training is ended when the time box is over.
    """

    title: str
    kind: Literal["ours", "rectools", "recbole"]
    words: tuple[str, ...] = ()
    seeds: int = _SEEDS
    boxed: bool = False

    @property
    def model(self) -> str:
        """Registry name of the model, for one of our systems."""
        return self.words[1] if self.words else "mclrec"


@dataclass(frozen=True, slots=True)
class Cell:
    """One log, one system, one seed.

    Attributes:
        log: name of the log.
        system: name of the system.
        seed: seed of the training.
    """

    log: str
    system: str
    seed: int

    def __str__(self) -> str:
        return f"{self.log}, {self.system}, seed {self.seed}"

    def file(self, folder: Path) -> Path:
        """File of the cell's result."""
        return folder / self.log / f"{self.system}-seed{self.seed}.json"


LOGS = {
    "ml-100k": Log("ml-100k.inter", seconds=180, least=0.098),
    "lastfm": Log("lastfm.txt", seconds=180, least=0.040),
    "beauty": Log("beauty.txt", seconds=360, metric=("U", "NDCG@20"), least=0.0540),
    "complete-journey": Log("complete-journey.parquet", {"item": "product_type"}),
}
"""The logs. Each is given as a path, so that no recipe of a named data set is used."""

SYSTEMS = {
    "mclrec": System("mclrec train LOG", "ours"),
    "sasrec": System("mclrec train LOG --model sasrec", "ours", ("--model", "sasrec")),
    "markov": System("mclrec train LOG --model markov", "ours", ("--model", "markov"), seeds=1),
    "rectools": System("RecTools 0.19, `SASRecModel()`", "rectools", ("SASRecModel",)),
    "rectools-fast": System("RecTools 0.19, `FlatSASRecNet`", "rectools", ("FlatSASRecNet",)),
    "recbole": System("RecBole 1.2.1, SASRec", "recbole", seeds=1, boxed=True),
}
"""The systems, ours first."""


def plan(only: Iterable[str] = (), seeds: int = _SEEDS) -> list[Cell]:
    """Cells in the order in which they are measured: by log, then by seed, then by system.

    Args:
        only: names of logs and systems, separated by commas; without the name of a log, all logs are included, and
            likewise for systems.
        seeds: largest number of seeds per system.

    Raises:
        BenchmarkError: a name is neither a log nor a system.
    """
    named = {name.strip() for text in only for name in text.split(",") if name.strip()}
    if unknown := sorted(named - LOGS.keys() - SYSTEMS.keys()):
        raise BenchmarkError(f"no log or system {unknown[0]!r}: {', '.join([*LOGS, *SYSTEMS])}")
    logs = [name for name in LOGS if name in named] or list(LOGS)
    systems = [name for name in SYSTEMS if name in named] or list(SYSTEMS)
    return list(_cells(logs, systems, seeds))


def _cells(logs: Iterable[str], systems: Iterable[str], seeds: int) -> Iterator[Cell]:
    for log in logs:
        for seed in range(1, seeds + 1):
            yield from (Cell(log, name, seed) for name in systems if seed <= SYSTEMS[name].seeds)
