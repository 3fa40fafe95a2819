"""Measure cells one after another, each into its own file, so that an interrupted campaign can be resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.logs.cells import LOGS, SYSTEMS, Cell, plan
from benchmarks.logs.measuring import Laboratory
from benchmarks.machine import describe_machine
from benchmarks.outcome import FULL_FOLDER, QUICK_FOLDER, write_json
from benchmarks.processes import BenchmarkError

__all__ = ["LOGS_FOLDER", "QUICK_LOGS_FOLDER", "measure_cells", "read_cells"]

LOGS_FOLDER = FULL_FOLDER / "logs"
QUICK_LOGS_FOLDER = QUICK_FOLDER / "logs"
_FORMAT = 1


def measure_cells(
    cells: Iterable[Cell], laboratory: Laboratory, folder: Path, *, again: bool = False
) -> list[Cell]:
    """Measure the cells that have no result yet; return those that failed.

    Args:
        cells: cells to measure.
        laboratory: measures a cell.
        folder: folder of the results.
        again: whether to measure cells that already have a result.
    """
    console, failed = laboratory.session.console, []
    for cell in cells:
        try:
            question, path = laboratory.question(cell), cell.file(folder)
            if not again and _answered(path, cell, laboratory):
                console.print(f"  {cell}: measured already")
                continue
            before = os.getloadavg()[0]
            answer = laboratory.measure(cell)
        except BenchmarkError as problem:
            console.print(str(problem), style="red", markup=False)
            failed.append(cell)
            continue
        load = {"before": round(before, 2), "after": round(os.getloadavg()[0], 2)}
        document = {
            "format": _FORMAT,
            "question": question,
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "threads": laboratory.session.threads,
            "load": load,
            **answer,
        }
        write_json(path, document)
    return failed


def read_cells(folder: Path) -> dict[Cell, dict[str, Any]]:
    """Read the results of a folder, in the order of the plan."""
    cells = plan(seeds=max(system.seeds for system in SYSTEMS.values()))
    files = {cell: cell.file(folder) for cell in cells if cell.log in LOGS}
    return {
        cell: json.loads(path.read_text(encoding="utf-8")) for cell, path in files.items() if path.exists()
    }


def _answered(path: Path, cell: Cell, laboratory: Laboratory) -> bool:
    if not path.exists():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    return bool(found.get("format") == _FORMAT and laboratory.is_answered(cell, found))
