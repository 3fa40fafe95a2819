"""How much is measured, with how many threads, and where files go meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.environments import peer_python
from benchmarks.processes import Child, Measurement, run_child, run_children, run_command

__all__ = ["FULL", "QUICK", "Budget", "Session"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is measured.

    Attributes:
        rounds: times that each side of a comparison is run; sides take turns.
        batches: timed batches of a training run, after ``warmup``.
        warmup: batches before the first that counts.
        starts: runs of a command whose start is timed.
        memory_batches: batches of the run whose peak memory is taken.
        rows: of the synthetic log that is prepared.
        spilled_rows: of the one that must not fit into memory; None leaves it out.
        catalogues: sizes, in items.
        catalogue_batches: timed batches at each.
        shared_items: of the catalogue that processes share out.
        interactions: sizes, for growth.
        lengths: of histories, for growth.
        growth_batches: timed batches at each size.
        streamed: interactions of the prepared data that are trained on from the disk.
        load_seconds: of load on a service.
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
)


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the benchmarks.

    Attributes:
        budget: how much is measured.
        threads: of every child.
        scratch: directory for logs, exported data and temporary files; it goes at the end.
        console: is told what happens.
        recipe: of MCLRec where accuracy is measured; None for the row's own.
    """

    budget: Budget
    threads: int
    scratch: Path
    console: Console
    recipe: str | None = None

    def python_of(self, peer: str) -> Path:
        """Interpreter of a peer's environment, installed if need be."""
        return peer_python(peer, self.console)

    def run(self, name: str, child: Child) -> Measurement:
        """Run one child and say what it took."""
        with self.console.status(name):
            measured = run_child(child, threads=self.threads, scratch=self.scratch)
        self._say(name, measured)
        return measured

    def run_together(self, name: str, child: Child, count: int) -> list[Measurement]:
        """Run one child as several processes, of which each has its share of the threads."""
        threads = max(1, self.threads // count)
        with self.console.status(name):
            measured = run_children(child, count, threads=threads, scratch=self.scratch)
        self._say(name, max(measured, key=lambda process: process.peak_bytes))
        return measured

    def run_command(self, name: str, words: list[str]) -> Measurement:
        """Run one command and say what it took."""
        with self.console.status(name):
            measured = run_command(words, threads=self.threads, scratch=self.scratch)
        self._say(name, measured)
        return measured

    def take_turns(self, sides: Mapping[str, Child]) -> dict[str, list[Measurement]]:
        """Run all sides, one after the other, in each of the rounds: drift of the machine hits all alike."""
        measured: dict[str, list[Measurement]] = {side: [] for side in sides}
        for number in range(1, self.budget.rounds + 1):
            for side, child in sides.items():
                measured[side].append(self.run(f"round {number}/{self.budget.rounds}  {side}", child))
        return measured

    def _say(self, name: str, measured: Measurement) -> None:
        self.console.print(
            f"  {name}: {measured.seconds:.1f} s in all, peak {measured.peak_bytes / 1e9:.2f} GB",
            highlight=False,
        )
