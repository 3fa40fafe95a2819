"""Search spaces: a range or some choices for each setting that is tuned.

    [complete-journey.search]
    beta = { low = 1e-5, high = 1e-1, log = true }
    dropout = { low = 0.1, high = 0.6, step = 0.1 }
    batch_size = [16, 32, 64]

A range has ``low`` and ``high``, both included, and optionally ``log = true`` or a ``step``; it consists of integers if
the setting is one. A list contains the values to try.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from mclrec.errors import ConfigError, unknown_name
from mclrec.models import registry
from mclrec.recipes import Recipe, resolve, search_table, setting_keys
from mclrec.recipes.auto import DataSizes
from mclrec.recipes.toml_text import NONE
from mclrec.training.config import TrainingConfig

__all__ = ["Choices", "Dimension", "Range", "Space", "search_space", "value_of"]

Number = int | float
_RANGE_KEYS = ("low", "high", "log", "step")
_FALLBACK = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
"""Search space of a model whose recipes have none: the setting that every model has and that matters most."""

_MEASUREMENT_KEYS = {"metric", "seen"}
"""Settings that determine how trials are measured: trials that differ in them could not be compared."""


@dataclass(frozen=True, slots=True)
class Range:
    """A dimension of numbers from ``low`` to ``high``, both included.

    Attributes:
        low: the lowest number.
        high: the highest number.
        log: whether numbers are drawn on a logarithmic scale.
        step: distance between neighbouring numbers, starting at ``low``; None for any number in between.
        whole: whether the numbers are integers.
    """

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a trial can have the value."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high or (self.whole and value != int(value)):
            return False
        places = 0.0 if self.step is None else (value - self.low) / self.step
        return math.isclose(places, round(places), abs_tol=1e-8)

    def __str__(self) -> str:
        kind = "whole numbers " if self.whole else ""
        how = ", on a logarithmic scale" if self.log else f" in steps of {self.step:g}" if self.step else ""
        return f"{kind}{self.low:g} to {self.high:g}{how}"


@dataclass(frozen=True, slots=True)
class Choices:
    """A dimension of listed values.

    Attributes:
        values: the values that a trial can have.
    """

    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Whether a trial can have the value."""
        return value in self.values

    def __str__(self) -> str:
        return " | ".join(
            str(value).lower() if isinstance(value, bool) else str(value) for value in self.values
        )


Dimension = Range | Choices
Space = Mapping[str, Dimension]


def search_space(
    model: str,
    dataset: str | None,
    recipe: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    sizes: DataSizes | None = None,
) -> dict[str, Dimension]:
    """Search space of a recipe: a range or some choices by key. An overridden setting is fixed and not searched.

    Args:
        model: name of a registered model.
        dataset: name of the registered data set that the data are, if they are one.
        recipe: another section, or a ``.toml`` file.
        overrides: settings that override the recipe's.
        sizes: sizes of the data, for the rules of the recipe ``auto``.

    Raises:
        ConfigError: an unknown or unsuitable setting, a malformed range, a bound that the setting does not allow, a
            setting that would have no effect, a recipe whose own value is outside, or nothing to search.
    """

    def resolved(change: Mapping[str, Any]) -> Recipe:
        return resolve(model, dataset, recipe, {**changes, **change}, sizes)

    keys, changes = setting_keys(model), dict(overrides or {})
    base = resolved({})
    written, where = search_table(model, dataset, recipe)
    if not written and registry.entry(model).only_counts:
        raise ConfigError(f"{model}: only counts, and its recipe has no [search]: there is nothing to search")
    fixed = {keys[key] for key in changes}
    space: dict[str, Dimension] = {}
    for key, content in (written or _FALLBACK).items():
        place = f"{where}: {key}"
        if key not in keys:
            raise ConfigError(f"{where}: {unknown_name('setting', key, set(keys.values()))}")
        if keys[key] in _MEASUREMENT_KEYS:
            raise ConfigError(f"{place} determines how trials are measured, and must be the same for all")
        if keys[key] not in fixed:
            space[keys[key]] = _dimension(content, _field_type(model, keys[key]), place)
    for key, dimension in space.items():
        _check(resolved, space, key, where)
        if not dimension.holds(value_of(base, key)):
            raise ConfigError(
                f"{where}: {key} is {value_of(base, key)} in the recipe, which is not in {dimension}: widen it, or "
                f"fix it with --set {key}=VALUE"
            )
    if not space:
        raise ConfigError(f"{where}: nothing is left to search: every setting of it is fixed by --set")
    return space


def value_of(recipe: Recipe, key: str) -> Any:
    """Value of a recipe's setting, by its key; ``none`` for None, as recipes write it."""
    values = recipe.training.model_dump() | recipe.config.model_dump(by_alias=True)
    return NONE if values[key] is None else values[key]


def _field_type(model: str, key: str) -> Any:
    """Type of a setting, such as ``int`` or ``float``, without None."""
    for config_type in (registry.model_class(model).config_type, TrainingConfig):
        for name, info in config_type.model_fields.items():
            if key in (name, info.alias):
                return _without_none(info.annotation)
    raise KeyError(key)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return kinds[0] if len(kinds) == 1 else annotation


def _dimension(written: Any, kind: Any, place: str) -> Dimension:
    if isinstance(written, list):
        if len(written) < 2 or any(value in written[:number] for number, value in enumerate(written)):
            raise ConfigError(f"{place} should list two or more different values")
        return Choices(tuple(written))
    if not isinstance(written, dict):
        raise ConfigError(f"{place} should be a range, as {{ low = 0.1, high = 0.5 }}, or a list of values")
    return _range(written, kind, place)


def _range(written: Mapping[str, Any], kind: Any, place: str) -> Range:
    for key in written:
        if key not in _RANGE_KEYS:
            raise ConfigError(f"{place}: {unknown_name('key', key, _RANGE_KEYS)}")
    if kind not in (int, float):
        raise ConfigError(f"{place} is not a number: list its values instead")
    if missing := {"low", "high"} - written.keys():
        raise ConfigError(f"{place}: has no {min(missing)}")
    log = written.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"{place}: log should be true or false")
    numbers = {
        key: _number(written[key], kind, f"{place}: {key}")
        for key in ("low", "high", "step")
        if key in written
    }
    low, high, step = numbers["low"], numbers["high"], numbers.get("step")
    if low >= high:
        raise ConfigError(f"{place}: low = {low} should be less than high = {high}")
    if log and (step is not None or low <= 0):
        raise ConfigError(f"{place}: a range with log = true begins above 0 and has no step")
    if step is not None and (step <= 0 or step > high - low):
        raise ConfigError(f"{place}: step = {step} should be above 0 and fit into the range")
    return Range(low, high, log, step, kind is int)


def _number(value: Any, kind: Any, place: str) -> Number:
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise ConfigError(f"{place} = {value!r} should be a {'whole number' if kind is int else 'number'}")
    return int(value) if kind is int else float(value)


def _check(resolved: Callable[[Mapping[str, Any]], Recipe], space: Space, key: str, where: str) -> None:
    """Refuse a dimension with values that the model does not accept, or that leave other dimensions without effect."""
    dimension = space[key]
    values = dimension.values if isinstance(dimension, Choices) else (dimension.low, dimension.high)
    for value in values:
        try:
            config = resolved({key: value}).config
        except ConfigError as problem:
            raise ConfigError(f"{where}: {key}: {problem}") from None
        for name, info in type(config).model_fields.items():
            if (info.alias or name) in space and not config.has_effect(name):
                raise ConfigError(
                    f"{where}: {info.alias or name} has no effect with {key} = {value}: search one of the two, and "
                    "fix the other with --set"
                )
