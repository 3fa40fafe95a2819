"""Choice of the recipe of a run, whether the user named one or not."""

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
    """The recipe of a run on these data.

    A data set of the paper, if requested by name, is trained with its own section, as for the published results. A log
    is trained with the recipe ``auto`` if the model has it, even if the log happens to be a data set's file.

    Raises:
        ConfigError: as in `mclrec.recipes.resolve`.
    """
    if recipe is None:
        recipe = default_recipe(model, asked_as(data))
    return resolve(model, known_as(data), recipe, settings, sizes)


def sizes_of(split: Split) -> DataSizes:
    """The sizes on which `auto` bases its choices, computed from a split without a given intake."""
    return DataSizes.of(split, split_intake(split).left.returns)


def possible_recipes(
    model: str, data: Any, recipe: str | Path | None = None, settings: Mapping[str, Any] | None = None
) -> list[Recipe]:
    """All recipes that a run may turn out to have, before the data are read on which the choice may depend.

    Args:
        model: name of a registered model.
        data: the data as requested.
        recipe: the recipe that was given, if any.
        settings: override the recipe's settings.

    Raises:
        ConfigError: the settings fit none of them.
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
    """The saved settings of a run as a recipe, whatever its section or file says now.

    Args:
        run: the run that was trained with them.
        split: split rule of the training they are for. If it is ``everything``, the number of epochs is the one that
            validation chose in ``run``.

    Raises:
        ModelFileError: the run is damaged.
    """
    info = run.info
    training = TrainingConfig.model_validate(info.training)
    chosen = run.record.best_epoch
    if split == EVERYTHING and chosen:
        cycle = cycle_epochs(training.cycle, training.epochs)  # keeps the learning rates of the chosen epochs
        training = training.model_copy(update={"epochs": chosen, "cycle": cycle})
    config_type = registry.model_class(info.model).config_type
    config = config_type.of_stored(info.config)
    return Recipe(info.model, info.recipe.section, info.recipe.source, config, training, None)
