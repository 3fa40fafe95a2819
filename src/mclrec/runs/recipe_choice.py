"""Which recipe a run is trained by, where the user gave one or left it open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mclrec.data.datasets import asked_as, is_dataset, known_as
from mclrec.data.measures import split_intake
from mclrec.data.sequences import SequenceData
from mclrec.data.split import EVERYTHING, Split
from mclrec.errors import ConfigError
from mclrec.models import registry
from mclrec.recipes import Recipe, default_recipe, resolve
from mclrec.recipes.auto import DataSizes
from mclrec.recipes.possible import possible
from mclrec.runs.run import Run
from mclrec.training.config import TrainingConfig
from mclrec.training.schedule import cycle_epochs

__all__ = ["possible_recipes", "recipe_for", "recipe_of", "sizes_of"]


def recipe_for(
    model: str,
    data: SequenceData,
    sizes: DataSizes,
    recipe: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe that a run on these data is trained by.

    A data set of the paper that was asked for by its name has its own section, as published results are trained. A log
    has the recipe ``auto`` where the model has it, even if it happens to be a data set's file.

    Raises:
        ConfigError: as `mclrec.recipes.resolve`.
    """
    if recipe is None:
        recipe = default_recipe(model, asked_as(data))
    return resolve(model, known_as(data), recipe, settings, sizes)


def sizes_of(split: Split) -> DataSizes:
    """The sizes by which `auto` chooses, where no intake of the split is at hand."""
    return DataSizes.of(split, split_intake(split).left.returns)


def possible_recipes(
    model: str, data: Any, recipe: str | Path | None = None, settings: Mapping[str, Any] | None = None
) -> list[Recipe]:
    """The recipe before data are read: each that it may turn out to be, where none is given or it depends on the data.

    Args:
        model: name of a registered model.
        data: as they were asked for.
        recipe: that was given.
        settings: go before the recipe's.

    Raises:
        ConfigError: the settings go with none of them.
    """
    if recipe is not None:
        return possible(model, None, recipe, settings)
    if isinstance(data, str) and is_dataset(data):
        return possible(model, data, default_recipe(model, data), settings)
    found, problems = list[Recipe](), []
    for section in dict.fromkeys((default_recipe(model, None), None)):
        try:
            found += possible(model, None, section, settings)
        except ConfigError as problem:
            problems.append(problem)
    if not found:
        raise problems[0]
    return found


def recipe_of(run: Run, split: str) -> Recipe:
    """The settings of a run as a recipe, whatever its section or file says by now.

    Args:
        run: that was trained by them.
        split: rule of the training that they are for. Where it holds everything in, the number of epochs is the one
            that validation chose in ``run``.

    Raises:
        ModelFileError: the run is damaged.
    """
    info = run.info
    training = TrainingConfig.model_validate(info.training)
    chosen = run.record.best_epoch
    if split == EVERYTHING and chosen:
        cycle = cycle_epochs(training.cycle, training.epochs)  # the rates of the epochs that were chosen
        training = training.model_copy(update={"epochs": chosen, "cycle": cycle})
    config_type = registry.model_class(info.model).config_type
    config = config_type.of_stored(info.config)
    return Recipe(info.model, info.recipe.section, info.recipe.source, config, training, None)
