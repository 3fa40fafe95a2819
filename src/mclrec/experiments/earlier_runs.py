"""Find finished runs of earlier versions in a campaign's folder by settings, since their keys hashed other settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mclrec.errors import ModelFileError
from mclrec.recipes import Recipe
from mclrec.runs.run import Run
from mclrec.runs.saved_settings import has_settings_of

__all__ = ["finished_runs"]


def finished_runs(folder: Path, recipe: Recipe, fingerprint: str, seed: int) -> Iterator[Path]:
    """Yield the directories of finished runs with the settings of a recipe, whatever their keys and data names.

    Args:
        folder: folder of the run directories.
        recipe: recipe of a planned run.
        fingerprint: fingerprint of the data, for the selected users, that it trains on.
        seed: seed of everything random.
    """
    wanted = (recipe.model, seed, fingerprint, "leave-one-out")
    for directory in sorted(folder.glob(f"*-{recipe.model}-*")):
        try:
            info = Run(directory).info
            if (info.model, info.seed, info.data.fingerprint, info.split) != wanted:
                continue
            record = Run(directory).record
        except ModelFileError:
            continue
        alone = info.warm_start is None and info.measured_by is None and record.finished
        if alone and has_settings_of(recipe, info.config, info.training, record.device):
            yield directory
