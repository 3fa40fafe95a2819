"""A finished or interrupted run, as its directory tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mclrec.errors import ModelFileError
from mclrec.evaluation.protocol import RankTable, load_ranks
from mclrec.files import read_json

if TYPE_CHECKING:
    from mclrec.serving.predictor import Model

__all__ = ["LABELS", "Run", "ranks_path"]

LABELS = ("U", "F")
"""Protocols that every run is measured under."""


def ranks_path(directory: Path, part: str, label: str) -> Path:
    """Where the exact ranks of one part under one protocol are."""
    return directory / f"ranks-{part}-{label}.parquet"


@dataclass(frozen=True, slots=True)
class Run:
    """A run's directory.

    Attributes:
        directory: holds model, numbers and history.
    """

    directory: Path

    @property
    def info(self) -> dict[str, Any]:
        """``config.json``: model, settings, data, seed, versions."""
        return cast("dict[str, Any]", read_json(self.directory / "config.json", ModelFileError))

    @property
    def record(self) -> dict[str, Any]:
        """``metrics.json``: how training ended, and the results by part and protocol."""
        return cast("dict[str, Any]", read_json(self.directory / "metrics.json", ModelFileError))

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Test metrics by protocol: ``run.metrics["U"]["HR@20"]``. Empty for an interrupted run."""
        results = self.record["results"].get("test", {})
        return {label: results[label]["metrics"] for label in LABELS if label in results}

    @property
    def history(self) -> list[dict[str, Any]]:
        """One record an epoch; empty for a model that only counts."""
        path = self.directory / "history.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    @property
    def model(self) -> Model:
        """The trained model, loaded."""
        from mclrec.serving.predictor import Model

        return Model.load(self.directory)

    def ranks(self, part: str = "test", label: str = "U") -> RankTable:
        """Exact ranks of each target.

        Raises:
            ModelFileError: there is no such run, or it was not measured so.
        """
        if not self.directory.is_dir():
            raise ModelFileError(f"{self.directory}: no such run directory")
        path = ranks_path(self.directory, part, label)
        if not path.exists():
            raise ModelFileError(
                f"{path}: no ranks: the run is unfinished, or not measured so; see `mclrec evaluate --help`"
            )
        return load_ranks(path)
