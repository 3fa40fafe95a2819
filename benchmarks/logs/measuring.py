"""Measure one cell: train the system on the log, and rank the held-out items.

For our systems, the whole command runs as a user would type it. A peer gets the prepared log as rows of user, item and
position, trains in a child process in its own environment, and returns a list of items for each user, by which we rank
the held-out items.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.logs.cells import LOGS, SYSTEMS, Cell, System
from benchmarks.processes import BenchmarkError, Child, Measurement
from benchmarks.session import Session

__all__ = ["Laboratory", "Limits"]

_CUTS = (5, 10, 20)
_LISTED = 100
"""Length of a peer's lists, far more than the cutoffs, so that ties across the end of a list do not matter."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long systems train.

    Attributes:
        box_minutes: minutes of processor time per thread after which the training of a boxed system is ended.
        epochs: epochs of every system, for a quick trial; None leaves each at its default.
    """

    box_minutes: float = 30.0
    epochs: int | None = None


@dataclass(frozen=True, slots=True)
class Laboratory:
    """Measures cells.

    Attributes:
        session: runs processes.
        limits: how long systems train.
    """

    session: Session
    limits: Limits
    _rows: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _sums: dict[str, str] = field(default_factory=dict)

    def is_answered(self, cell: Cell, document: Mapping[str, Any]) -> bool:
        """Whether a result answers the cell's question and, for one of our systems, was trained with today's settings.

        Raises:
            BenchmarkError: the log is not found.
        """
        # Older results have a checksum of the recipes in their question.
        asked = {key: value for key, value in document["question"].items() if key != "recipe"}
        if asked != self.question(cell):
            return False
        if SYSTEMS[cell.system].kind != "ours":
            return True
        return self._other_setting(cell, document) is None

    def question(self, cell: Cell) -> dict[str, Any]:
        """The conditions under which a cell is measured; a result obtained under other conditions is not the cell's.

        Raises:
            BenchmarkError: the log is not found.
        """
        system, log = SYSTEMS[cell.system], LOGS[cell.log]
        if cell.log not in self._sums:
            self._sums[cell.log] = hashlib.sha256(log.path().read_bytes()).hexdigest()
        return {
            "log": cell.log,
            "log_sha256": self._sums[cell.log],
            "system": cell.system,
            "seed": cell.seed,
            "command": " ".join(self._words(cell, log.file)) if system.kind == "ours" else self._asked(cell),
            "threads": self.session.threads,
            "box_minutes": self.limits.box_minutes if system.boxed else None,
        }

    def _other_setting(self, cell: Cell, document: Mapping[str, Any]) -> str | None:
        """A setting whose value in one of our results differs from today's; None if none does."""
        log = LOGS[cell.log]
        request = {
            "data": str(log.path()),
            "item": log.columns.get("item"),
            "model": SYSTEMS[cell.system].model,
            "settings": {} if self.limits.epochs is None else {"epochs": self.limits.epochs},
            **{name: document[name] for name in ("config", "training")},
        }
        asked = self.session.run(f"{cell}: settings", Child("benchmarks.ours.log_settings", request))
        other: str | None = asked.document["other"]
        return other

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Train the system and rank the held-out items.

        Raises:
            BenchmarkError: a process failed, or our system was trained on other sequences than the peers get.
        """
        system = SYSTEMS[cell.system]
        return self._measure_ours(cell) if system.kind == "ours" else self._measure_peer(cell, system)

    def _words(self, cell: Cell, path: str) -> list[str]:
        """The command of one of our systems."""
        quick = [] if self.limits.epochs is None else ["--set", f"epochs={self.limits.epochs}"]
        trained = SYSTEMS[cell.system].seeds > 1  # a model that only counts has neither epochs nor seeds
        more = ["--seed", str(cell.seed), *quick] if trained else []
        return ["mclrec", "train", path, *LOGS[cell.log].options(), *SYSTEMS[cell.system].words, *more]

    def _measure_ours(self, cell: Cell) -> dict[str, Any]:
        directory = self.session.scratch / f"{cell.log}-{cell.system}-{cell.seed}"
        words = self._words(cell, str(LOGS[cell.log].path()))
        command = [sys.executable, "-m", *words, "--out", str(directory)]
        measured = self.session.run_command(str(cell), command)
        info, record = (_read(directory / name) for name in ("config.json", "metrics.json"))
        wanted = self._prepared(cell.log)["fingerprint"]
        if info["data"]["fingerprint"] != wanted:
            raise BenchmarkError(f"{cell}: trained on other sequences than the peers get")
        return {
            "seconds": measured.seconds,
            "processor_seconds": round(measured.processor_seconds, 3),
            "peak_bytes": measured.peak_bytes,
            "metrics": {name: found["metrics"] for name, found in record["results"]["test"].items()},
            "validation": record["best_validation"],
            "epochs": record["epochs"],
            "ended": record["ended"],
            "fingerprint": wanted,
            **{key: info[key] for key in ("recipe", "config", "training", "versions")},
        }

    def _asked(self, cell: Cell) -> str:
        """Module and request of a peer's child, without paths."""
        system = SYSTEMS[cell.system]
        return f"benchmarks.peers.{system.kind}_log {json.dumps(self._request(cell, system), sort_keys=True)}"

    def _request(self, cell: Cell, system: System) -> dict[str, Any]:
        request: dict[str, Any] = {"seed": cell.seed, "listed": _LISTED}
        if system.words:
            [request["network"]] = system.words
        if system.boxed:
            request["box_seconds"] = 60 * self.limits.box_minutes
        if self.limits.epochs is not None:
            request["epochs"] = self.limits.epochs
        return request

    def _measure_peer(self, cell: Cell, system: System) -> dict[str, Any]:
        rows = self._prepared(cell.log)
        lists = self.session.scratch / f"{cell.log}-{cell.system}-{cell.seed}.npz"
        places = {"inter": rows["path"], "lists": str(lists), "scratch": str(self.session.scratch)}
        request = {**self._request(cell, system), **places}
        module = f"benchmarks.peers.{system.kind}_log"
        measured = self.session.run(str(cell), Child(module, request, self.session.python_of(system.kind)))
        ranked = self._ranked(cell, rows, lists)
        return {
            **measured.document,
            "wall_seconds": round(measured.seconds, 3),
            "wall_peak_bytes": measured.peak_bytes,
            "metrics": ranked.document["metrics"],
            "fingerprint": rows["fingerprint"],
        }

    def _ranked(self, cell: Cell, rows: Mapping[str, Any], lists: Path) -> Measurement:
        request = {"inter": rows["path"], "lists": str(lists), "cuts": list(_CUTS)}
        ranked = self.session.run(f"{cell}: ranking", Child("benchmarks.ours.log_ranking", request))
        lists.unlink()
        return ranked

    def _prepared(self, name: str) -> Mapping[str, Any]:
        """Prepare a log with our defaults and write it as rows, once per log."""
        if name not in self._rows:
            log = LOGS[name]
            # RecBole has its own data sets under the names of some logs, and would read those instead.
            path = self.session.scratch / f"{name}-rows" / f"{name}-rows.inter"
            request = {"data": str(log.path()), "columns": dict(log.columns), "path": str(path)}
            document = self.session.run(f"{name} as rows", Child("benchmarks.ours.export", request)).document
            self._rows[name] = {**document, "path": str(path)}
        return self._rows[name]


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
