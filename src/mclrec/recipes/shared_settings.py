"""Settings shared by several models: each model takes those that it has, and the user is told which took what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mclrec.errors import ConfigError
from mclrec.models import registry
from mclrec.recipes import setting_keys, unknown_setting
from mclrec.recipes.possible import possible
from mclrec.recipes.training_settings import UselessSettingError, training_keys
from mclrec.training.config import TrainingConfig

__all__ = ["check_known", "check_taken", "combine_settings", "own_keys", "taken_settings", "told_settings"]

Run = tuple[str, Mapping[str, Any]]
"""The model of a run, and the settings that it takes."""

_FEW = 3
"""Number of models that a message about an unknown setting names."""


def check_known(models: Sequence[str], shared: Mapping[str, Any]) -> None:
    """Refuse shared settings that no model has.

    Raises:
        ConfigError: no such model, or a setting that none of them has (the nearest one is named).
    """
    known = set[str]().union(*(own_keys(model).values() for model in models))
    accepted = set[str]().union(*(own_keys(model) for model in models))
    for key in shared:
        if key not in accepted:
            if key in TrainingConfig.model_fields:
                raise ConfigError(f"{key} has no effect on models that only count ({', '.join(models)})")
            few = len(models) <= _FEW
            raise ConfigError(
                unknown_setting(", ".join(models) if few else f"these {len(models)} models", key, known)
            )


def taken_settings(
    model: str, shared: Mapping[str, Any], check: Callable[[Mapping[str, Any]], object]
) -> dict[str, Any]:
    """The shared settings that one model takes: those that it has and that have an effect on it.

    Args:
        model: name of a registered model.
        shared: settings of all models.
        check: builds the model's configuration with some of them; raises `UselessSettingError` for one without effect.

    Raises:
        ConfigError: a value that the model refuses.
    """
    keys = own_keys(model)
    taken = {keys[key]: value for key, value in shared.items() if key in keys}
    while True:
        try:
            check(taken)
        except UselessSettingError as problem:
            if problem.key not in taken:
                raise
            del taken[problem.key]
        except ConfigError as problem:
            raise ConfigError(f"{model}: {problem}") from None
        else:
            return taken


def combine_settings(
    model: str,
    dataset: str | None,
    recipe: str | Path | None,
    own: Mapping[str, Any],
    shared: Mapping[str, Any],
) -> dict[str, Any]:
    """Combine the settings shared by all runs of a campaign with one run's own settings, which take precedence.

    A shared setting is left out if the run sets it itself (the row without contrast stays without, whatever the weight
    in the others), if the model does not have it, or if the run's own settings or its recipe leave it without effect:
    the row without contrast has no use for a ratio of the views, nor popularity for a number of epochs. `check_taken`
    makes sure that some run uses it.

    Args:
        model: name of a registered model.
        dataset: as for `mclrec.recipes.resolve`.
        recipe: as for `mclrec.recipes.resolve`.
        own: settings that make this run differ from the others.
        shared: settings of all runs.

    Raises:
        ConfigError: as `mclrec.recipes.resolve`.
    """
    keys = setting_keys(model)
    first = {keys.get(key, key) for key in own}
    rest = {key: value for key, value in shared.items() if keys.get(key, key) not in first}
    taken = taken_settings(
        model, rest, lambda settings: possible(model, dataset, recipe, {**own, **settings})
    )
    return {**own, **taken}


def check_taken(shared: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Refuse shared settings that no run takes.

    Args:
        shared: settings of all runs.
        runs: the model of each run, and the settings that it takes.

    Raises:
        ConfigError: a setting is unknown to all models, or has an effect on none of the runs.
    """
    models = list(dict.fromkeys(model for model, _ in runs))
    check_known(models, shared)
    for key, value in shared.items():
        uses = {_use(model, taken, key, value) for model, taken in runs}
        if _TAKEN in uses:
            continue
        if _SET in uses:
            raise ConfigError(f"no run would use {key} = {value}: each sets its own; leave it out")
        having = [model for model in models if key in own_keys(model)]
        raise ConfigError(
            f"{key} has no effect on {' or '.join(having)} with the other settings: leave it out"
        )


def told_settings(shared: Mapping[str, Any], runs: Sequence[Run]) -> list[str]:
    """A line for each shared setting that not all runs take: which models take it, and which do not have it.

    Args:
        shared: settings of all runs.
        runs: the model of each run, and the settings that it takes.
    """
    return [
        f"{key} = {value}: {line}"
        for key, value in shared.items()
        if (line := _who_took(key, value, runs)) is not None
    ]


def _who_took(key: str, value: Any, runs: Sequence[Run]) -> str | None:
    """Which models take a setting; None if all runs do."""
    uses = dict[str, set[str]]()
    for model, taken in runs:
        uses.setdefault(model, set()).add(_use(model, taken, key, value))
    if all(use == {_TAKEN} for use in uses.values()):
        return None
    always, useless, without = (
        [model for model, use in uses.items() if use == {kind}] for kind in (_TAKEN, _USELESS, _WITHOUT)
    )
    partly = {model: use for model, use in uses.items() if len(use) > 1 or use == {_SET}}
    effect = [model for model, use in partly.items() if _SET not in use]
    rows = [model for model in partly if model not in effect]
    parts = [
        f"taken by {', '.join(always)}" if always else "",
        f"taken by {', '.join(effect)} where it has an effect" if effect else "",
        f"taken by {', '.join(rows)} but not where a row sets it itself" if rows else "",
        f"without effect on {', '.join(useless)}" if useless else "",
        f"{', '.join(without)} {'does' if len(without) == 1 else 'do'} not have it" if without else "",
    ]
    return "; ".join(filter(None, parts))


_TAKEN, _SET, _USELESS, _WITHOUT = "taken", "set by the run itself", "without effect", "not a setting of it"


def _use(model: str, taken: Mapping[str, Any], key: str, value: Any) -> str:
    """What a run does with a shared setting."""
    name = own_keys(model).get(key)
    if name is None:
        return _WITHOUT
    given = {setting_keys(model).get(own, own): found for own, found in taken.items()}
    if name not in given:
        return _USELESS
    return _TAKEN if given[name] == value else _SET


def own_keys(model: str) -> dict[str, str]:
    """Canonical keys, by each that is accepted, of a model's own settings and of training settings that affect it."""
    fields = registry.model_class(model).config_type.model_fields
    idle = TrainingConfig.model_fields.keys() - training_keys(model) - fields.keys()
    return {key: name for key, name in setting_keys(model).items() if key not in idle}
