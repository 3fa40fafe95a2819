"""Candidates of a search within minutes: a small fixed set of variants of the best settings so far, first the recipe's.

The set is defined only here, and described in ``docs/tuning.md``. Each candidate differs from the centre in one
respect, so that the result of the search can be understood. Settings fixed with ``--set`` are not varied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mclrec.errors import ConfigError
from mclrec.recipes import Recipe, resolve, setting_keys
from mclrec.recipes.auto import ALPHA, AUTO, DataSizes
from mclrec.recipes.space import Choices, Dimension, Range, search_space, value_of

__all__ = ["MOST", "candidate_settings"]

MOST = 8
"""Maximum number of candidates of a round, including the centre."""

_LOG_STEP = 3
"""Factor between a recipe's value and its neighbours, in a dimension with a logarithmic scale."""

_WEIGHTS = ("beta", "lambda_supervised", "lambda")
"""Weights of contrastive losses: the first non-zero one of a model with `auto` is the weight of its own loss."""

_LITTLE = 0.2
"""Attention dropout of `auto` for long histories: recipes with more are varied to this value, the others to .1."""

_DIGITS = 3
"""Significant digits of computed values."""


def candidate_settings(
    base: Recipe,
    dataset: str | None,
    recipe: str | Path | None,
    settings: Mapping[str, Any],
    sizes: DataSizes,
    tried: Sequence[Mapping[str, Any]] = ({},),
    centre: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Settings of new candidates, to be added to the user's own; the most promising come first.

    Args:
        base: the recipe with the user's settings.
        dataset: name of the registered data set that the data are, if they are one.
        recipe: section or file of the recipe.
        settings: settings given by the user; they are fixed.
        sizes: of the data.
        tried: settings of the existing candidates, which are not repeated.
        centre: settings of the candidate of which the new ones are variants; the recipe itself if None.

    Raises:
        ConfigError: the model only counts, or its search space is malformed.
    """

    def resolved(change: Mapping[str, Any]) -> Recipe:
        return resolve(base.model, dataset, recipe, {**settings, **change}, sizes)

    keys = setting_keys(base.model)
    fixed = {keys.get(key, key) for key in settings}
    middle = resolved(centre) if centre else base
    if base.section == AUTO:
        around = _around_auto(middle, sizes)
    else:
        around = _around_space(middle, search_space(base.model, dataset, recipe, settings, sizes))
    known = [(one.config, one.training) for one in map(resolved, tried)]
    found: list[dict[str, Any]] = []
    for change in around:
        if len(found) == MOST - 1 or not fixed.isdisjoint(change):
            continue
        whole = {**(centre or {}), **change}
        try:
            one = resolved(whole)
        except ConfigError:  # the model has no such setting, or it has no effect here
            continue
        if (one.config, one.training) not in known:
            known.append((one.config, one.training))
            found.append(whole)
    return found


def _around_auto(base: Recipe, sizes: DataSizes) -> Iterator[dict[str, Any]]:
    """Changes to a recipe from `auto`, the most promising first."""
    values = base.training.model_dump() | base.config.model_dump(by_alias=True)
    rate = base.training.learning_rate
    weight = next((key for key in _WEIGHTS if values.get(key)), "")
    weights = [{weight: _rounded(values[weight] * factor)} for factor in (0.25, 2)] if weight else []
    longer = [length for length in (100, 200) if sizes.longest >= length > values.get("max_length", 0)]
    yield {"attention_dropout": 0.2 if values.get("attention_dropout", 0.0) > _LITTLE else 0.1}
    yield {"dropout": 0.3, "attention_dropout": 0.3}
    yield from weights[:1]
    yield {"alpha": 0.0 if values.get("alpha") else ALPHA}
    yield {"hidden_size": 128}
    yield from ({"max_length": length} for length in longer[:1])
    yield from weights[1:]
    yield {"dropout": 0.2, "attention_dropout": 0.2}
    yield {"learning_rate": _rounded(rate / 2)}
    yield from ({"max_length": length} for length in longer[1:])
    yield {"dropout": 0.5, "attention_dropout": 0.5}


def _around_space(base: Recipe, space: Mapping[str, Dimension]) -> Iterator[dict[str, Any]]:
    """Changes to a recipe's neighbours in its search space: first one for each setting, then the others."""
    each = [
        [{key: value} for value in _neighbours(dimension, value_of(base, key))]
        for key, dimension in space.items()
    ]
    for changes in zip_longest(*each):
        yield from (change for change in changes if change is not None)


def _neighbours(dimension: Dimension, value: Any) -> list[Any]:
    """Neighbours of a value in a dimension of the search space."""
    if isinstance(dimension, Choices):
        return [other for other in dimension.values if other != value]
    if dimension.log:
        near = [value / _LOG_STEP, value * _LOG_STEP]
    else:
        way = 2 * dimension.step if dimension.step else (dimension.high - dimension.low) / 4
        near = [value - way, value + way]
    inside = [_fitted(dimension, one) for one in near]
    return [one for one in inside if one != value]


def _fitted(dimension: Range, value: float) -> int | float:
    """Clip a value to a range, and round it to few digits or, in a range of integers, to an integer."""
    inside = min(max(value, dimension.low), dimension.high)
    return round(inside) if dimension.whole else _rounded(inside)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
