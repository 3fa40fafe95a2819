"""The inputs of a search within minutes: request, recipe, data, device and directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mclrec.data.datasets import known_as
from mclrec.data.split import Split
from mclrec.errors import MclrecError
from mclrec.locks import Lock
from mclrec.recipes import Recipe, resolve
from mclrec.recipes.auto import DataSizes
from mclrec.runs.construction import longest_time
from mclrec.runs.request import TrainRequest, train_command
from mclrec.search.search_record import Candidate
from mclrec.training.reporting import Reporter
from mclrec.training.schedule import cycle_epochs

__all__ = ["FOLDER", "Job"]

FOLDER = "candidates"
"""Folder of the candidates in the run's directory."""

_TIMED = 3
"""Batches of each candidate that are timed."""


@dataclass(frozen=True, slots=True)
class Job:
    """The inputs of a search, constant throughout a session.

    Attributes:
        request: request for the run, with the data loaded and the recipe decided.
        base: the recipe.
        split: split of the data.
        sizes: sizes of the data.
        device: where to train.
        directory: directory of the run.
        lock: lock of the directory, held by this process.
        reporter: receives progress.
    """

    request: TrainRequest
    base: Recipe
    split: Split
    sizes: DataSizes
    device: torch.device
    directory: Path
    lock: Lock | None
    reporter: Reporter

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings given by the user."""
        return self.request.settings or {}

    @property
    def epochs(self) -> int:
        """Maximum number of epochs of a whole training."""
        return self.base.training.epochs

    def limited(self, epochs: int) -> dict[str, Any]:
        """Settings that end a training after some epochs, but keep the learning rate schedule of a whole one."""
        training = self.base.training
        cycle = cycle_epochs(training.cycle, training.epochs)
        return {"epochs": epochs} if cycle is None else {"epochs": epochs, "cycle": cycle}

    def of_epochs(self, epochs: int) -> Job:
        """Copy with another number of epochs for a whole training."""
        settings = {**self.settings, "epochs": epochs}
        training = self.base.training.model_copy(update={"epochs": epochs})
        return replace(
            self, request=replace(self.request, settings=settings), base=replace(self.base, training=training)
        )

    def say(self, line: str) -> None:
        """Report a line about the search."""
        self.reporter.planned([line])

    def resolved(self, change: Mapping[str, Any]) -> Recipe:
        """The recipe with a candidate's settings."""
        recipe = resolve(
            self.base.model,
            known_as(self.split.data),
            self.request.recipe,
            {**self.settings, **change},
            self.sizes,
        )
        return replace(recipe, training=recipe.training.on(self.device))

    def command(self, settings: Mapping[str, Any]) -> str:
        """The command line that trains with some settings, without a search."""
        request = self.request
        return train_command(
            self.split.data.provenance,
            request.model,
            request.seed,
            recipe=request.recipe,
            settings=settings,
            split=request.split,
        )

    def folder(self, candidate: Candidate) -> Path:
        """The directory in which a candidate is trained."""
        return self.directory / FOLDER / f"{candidate.number:02d}"

    def epoch_time(self, candidate: Candidate) -> float:
        """Estimate the seconds of a training epoch from a few batches, without validation; 0 if training fails."""
        recipe = self.resolved(candidate.settings)
        try:
            return longest_time(self.split, recipe, self.device, _TIMED) / recipe.training.epochs
        except MclrecError:  # reported when it is trained
            return 0.0
