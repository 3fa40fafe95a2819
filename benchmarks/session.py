"""A run of the benchmarks: how much is measured, with how many threads, and where temporary files go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from benchmarks.environments import peer_python
from benchmarks.processes import Child, Measurement, Place, run_child, run_children, run_command
from benchmarks.turns import run_in_turns

__all__ = ["FULL", "QUICK", "Budget", "Session"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is measured.

    Attributes:
        rounds: runs of each side of a comparison; sides take turns.
        batches: timed batches of a training run, after ``warmup``.
        warmup: batches before the timed ones.
        starts: runs of a command whose start-up time is measured.
        memory_batches: batches of the run whose peak memory is measured.
        rows: rows of the synthetic log that is prepared.
        spilled_rows: rows of a log that does not fit into memory; None leaves it out.
        catalogues: catalogue sizes.
        catalogue_batches: timed batches at each catalogue size.
        shared_items: size of the catalogue that processes shard.
        interactions: data sizes at which growth is measured.
        lengths: history lengths at which growth is measured.
        growth_batches: timed batches at each size.
        streamed: interactions of the prepared data that are trained on from the disk.
        load_seconds: duration of the load on a service.
        passes: timed passes of an evaluation, in turns with the other sides, after an untimed one.
        thread_rounds: how often each number of threads is timed, in turns with the others.
    """

    rounds: int
    batches: int
    warmup: int
    starts: int
    memory_batches: int
    rows: int
    spilled_rows: int | None
    catalogues: tuple[int, ...]
    catalogue_batches: int
    shared_items: int
    interactions: tuple[int, ...]
    lengths: tuple[int, ...]
    growth_batches: int
    streamed: int
    load_seconds: int
    passes: int
    thread_rounds: int


FULL = Budget(
    rounds=3,
    batches=100,
    warmup=10,
    starts=10,
    memory_batches=300,
    rows=20_000_000,
    spilled_rows=100_000_000,
    catalogues=(10_000, 100_000, 1_000_000),
    catalogue_batches=10,
    shared_items=5_000_000,
    interactions=(10_000, 100_000, 1_000_000, 10_000_000),
    lengths=(25, 50, 100, 200, 400),
    growth_batches=30,
    streamed=100_000_000,
    load_seconds=60,
    passes=7,
    thread_rounds=7,
)

QUICK = Budget(
    rounds=1,
    batches=10,
    warmup=2,
    starts=3,
    memory_batches=30,
    rows=1_000_000,
    spilled_rows=None,
    catalogues=(10_000, 100_000),
    catalogue_batches=3,
    shared_items=500_000,
    interactions=(10_000, 100_000),
    lengths=(50, 200),
    growth_batches=5,
    streamed=1_000_000,
    load_seconds=10,
    passes=1,
    thread_rounds=2,
)


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the benchmarks.

    Attributes:
        budget: how much is measured.
        threads: number of threads of every child process.
        scratch: directory for logs, exported data and temporary files, removed at the end.
        console: shows progress.
        recipe: recipe of MCLRec in the accuracy rows; None for the row's own.
        cores: cores to which every child process is pinned; None to let the system choose among all.
    """

    budget: Budget
    threads: int
    scratch: Path
    console: Console
    recipe: str | None = None
    cores: tuple[int, ...] | None = None

    @property
    def place(self) -> Place:
        """Where child processes run."""
        return Place(self.threads, self.scratch, self.cores)

    def python_of(self, peer: str) -> Path:
        """Python interpreter of a peer's environment, which is installed if necessary."""
        return peer_python(peer, self.console)

    def run(self, name: str, child: Child) -> Measurement:
        """Run one child and print its time and peak memory."""
        with self.console.status(name):
            measured = run_child(child, place=self.place)
        self._print(name, measured)
        return measured

    def run_together(self, name: str, child: Child, count: int) -> list[Measurement]:
        """Run one child as several processes that divide the threads between them."""
        place = replace(self.place, threads=max(1, self.threads // count))
        with self.console.status(name):
            measured = run_children(child, count, place=place)
        self._print(name, max(measured, key=lambda process: process.peak_bytes))
        return measured

    def run_command(self, name: str, words: list[str], limit: float | None = None) -> Measurement:
        """Run one command and print its time and peak memory; it is killed after ``limit`` seconds."""
        with self.console.status(name):
            measured = run_command(words, place=self.place, limit=limit)
        self._print(name, measured)
        return measured

    def take_turns(self, sides: Mapping[str, Child]) -> dict[str, list[Measurement]]:
        """Run all sides one after another in each round, so that a drift of the machine affects all of them."""
        measured: dict[str, list[Measurement]] = {side: [] for side in sides}
        for number in range(1, self.budget.rounds + 1):
            for side, child in sides.items():
                measured[side].append(self.run(f"round {number}/{self.budget.rounds}  {side}", child))
        return measured

    def interleave(self, sides: Mapping[str, Child], passes: int) -> dict[str, Measurement]:
        """Start all sides, and let them run passes in turns, so that compared passes are only seconds apart.

        Args:
            sides: children that wait for their turns (`benchmarks.child.turns`).
            passes: number of passes of each side.
        """
        with self.console.status(f"{passes} passes of {', '.join(sides)}"):
            measured = run_in_turns(sides, passes, self.place)
        for side, run in measured.items():
            self._print(side, run)
        return measured

    def _print(self, name: str, measured: Measurement) -> None:
        self.console.print(
            f"  {name}: {measured.seconds:.1f} s in all, peak {measured.peak_bytes / 1e9:.2f} GB",
            highlight=False,
        )
