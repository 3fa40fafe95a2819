"""Results of a row and their files: findings, summaries, growth, and all raw timings with machine and versions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.processes import ROOT, Measurement
from benchmarks.session import Session
from benchmarks.summary import Curve, Finding, Spread

__all__ = ["FULL_FOLDER", "QUICK_FOLDER", "Outcome", "read_results", "write_json", "write_result"]

FULL_FOLDER = ROOT / "benchmarks" / "results"
QUICK_FOLDER = FULL_FOLDER / "quick"
_FORMAT = 1
_NUMBERS = re.compile(r"\[\s+((?:-?[\d.e+-]+,\s+)*-?[\d.e+-]+)\s+\]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results of a row.

    Attributes:
        findings: lines of the table.
        work: the work that all sides did, if they were compared.
        sides: the measured quantity of each side, by name.
        runs: all measurements, by side.
        curves: growth of time and memory.
        notes: what a reader must know.
    """

    findings: Sequence[Finding]
    work: Mapping[str, Any] = field(default_factory=dict)
    sides: Mapping[str, Spread] = field(default_factory=dict)
    runs: Mapping[str, Sequence[Measurement]] = field(default_factory=dict)
    curves: Sequence[Curve] = ()
    notes: Sequence[str] = ()


def write_result(name: str, title: str, outcome: Outcome, session: Session, *, quick: bool) -> Path:
    """Write the result file of a row; quick results go to their own folder."""
    path = (QUICK_FOLDER if quick else FULL_FOLDER) / f"{name}.json"
    document = {
        "format": _FORMAT,
        "row": name,
        "title": title,
        "quick": quick,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "threads": session.threads,
        "rounds": session.budget.rounds,
        "findings": [finding.to_json() for finding in outcome.findings],
        "notes": list(outcome.notes),
        "work": dict(outcome.work),
        "sides": {side: spread.to_json() for side, spread in outcome.sides.items()},
        "curves": [curve.to_json() for curve in outcome.curves],
        "runs": {side: [_run(run) for run in runs] for side, runs in outcome.runs.items()},
    }
    write_json(path, document)
    return path


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a result file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(_dump(document), encoding="utf-8")
    temporary.replace(path)


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the result files of a folder, by row."""
    files = sorted(folder.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def _run(run: Measurement) -> dict[str, Any]:
    return {**run.document, "wall_seconds": round(run.seconds, 3), "peak_bytes": run.peak_bytes}


def _dump(document: Mapping[str, Any]) -> str:
    """Indented JSON with each list of numbers on one line."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"
