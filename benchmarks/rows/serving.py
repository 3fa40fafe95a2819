"""`mclrec serve` under load: latency from the time a request was due, memory, and recall with an index."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.outcome import Outcome
from benchmarks.processes import Child, Measurement
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread

__all__ = ["measure_serving"]

_WIDTH = 64
_SHARE_ANSWERED = 0.97
"""Least share of the requested rate; below it, service or generator fell behind, and latencies are those of a queue."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One catalogue under one load."""

    items: int
    rate: int
    p99: float
    index: str | None = None
    processes: int = 1

    @property
    def name(self) -> str:
        how = "exact" if self.index is None else f"index {self.index}"
        several = "" if self.processes == 1 else f", {self.processes} processes behind nginx"
        return f"{self.items:,} items, {how}, {self.rate} requests/s{several}"


_CASES = (
    _Case(12_101, 800, p99=30),  # the size of Beauty
    _Case(12_101, 2000, p99=20),
    _Case(12_101, 2000, p99=20, processes=2),
    _Case(100_000, 200, p99=50),
    _Case(1_000_000, 20, p99=250),
    _Case(1_000_000, 100, p99=50, index="faiss"),
)
_RECALL = 0.95


def measure_serving(session: Session) -> Outcome:
    """Measure each catalogue in its own service, with one load generator on the same machine."""
    findings: list[Finding] = []
    runs: dict[str, list[Measurement]] = {}
    sides: dict[str, Spread] = {}
    for case in _CASES:
        run = session.run(case.name, _child(case, session.budget.load_seconds))
        document = run.document
        runs[case.name] = [run]
        sides[f"{case.name}: p50"] = Spread((document["p50"],), "ms")
        sides[f"{case.name}: p90"] = Spread((document["p90"],), "ms")
        sides[f"{case.name}: max"] = Spread((document["max"],), "ms")
        findings += [
            Finding(f"{case.name}: p99", document["p99"], "ms", case.p99),
            Finding(
                f"{case.name}: answered",
                document["rate"],
                "requests/s",
                _SHARE_ANSWERED * case.rate,
                "at least",
            ),
            Finding(f"{case.name}: errors", document["errors"], "errors", 0),
            Finding(f"{case.name}: processor time of a request", document["processor_ms"], "ms"),
            Finding(f"{case.name}: memory", document["resident_bytes"] / 1e6, "MB"),
        ]
        if document["recall"] is not None:
            findings.append(Finding(f"{case.name}: recall@10", document["recall"], "", _RECALL, "at least"))
    note = (
        "Serving: SASRec with drawn weights (width 64, two layers) by onnxruntime; wrk on the same machine sends "
        "distinct histories (median 5 items, at most 50) at Poisson times; a latency counts from the time at which "
        "its request was due. The processes, nginx and wrk share the cores."
    )
    return Outcome(findings, sides=sides, runs=runs, notes=[note])


def _child(case: _Case, seconds: int) -> Child:
    request = {
        "items": case.items,
        "hidden_size": _WIDTH,
        "rate": case.rate,
        "seconds": seconds,
        "index": case.index,
        "processes": case.processes,
        "seed": 1,
    }
    return Child("benchmarks.ours.serving", request)
