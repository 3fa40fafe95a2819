"""Possible forms of a recipe before the data are read, on whose sizes the rules of `auto` depend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mclrec.errors import ConfigError
from mclrec.recipes import Recipe, is_auto, resolve
from mclrec.recipes.auto import TYPICAL

__all__ = ["possible"]


def possible(
    model: str,
    dataset: str | None,
    recipe: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[Recipe]:
    """The recipe, or for `auto` its forms on logs of several sizes: a setting may have an effect on some of them only.

    Args:
        model: name of a registered model.
        dataset: name of the registered data set that the data are, if that is known.
        recipe: section or file; the data set's own if None.
        overrides: settings that override the recipe's.

    Raises:
        ConfigError: as `mclrec.recipes.resolve`, if it fails for all sizes.
    """
    found, problems = [], []
    for sizes in TYPICAL if is_auto(model, dataset, recipe) else (None,):
        try:
            found.append(resolve(model, dataset, recipe, overrides, sizes))
        except ConfigError as problem:
            problems.append(problem)
    if not found:
        raise problems[0]
    return found
