"""Comparison of settings saved by runs, also of earlier versions, with those of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError

from mclrec.errors import ConfigError
from mclrec.models import registry
from mclrec.models.model_config import ModelConfig
from mclrec.recipes import Recipe
from mclrec.runs.run import Run
from mclrec.training.config import TrainingConfig
from mclrec.training.identity import SETTING

__all__ = ["came_later", "check_settings", "has_settings_of", "other_setting", "settings_now"]

_CAME_LATER: Mapping[str, Any] = {
    "augmenter": "mlp",
    "contrast_by": "history",
    "encoder": "transformer",
    "gamma": 0.0,  # of CL4SRec and DuoRec
    "norm": "post",
    "temperature": None,
}
"""Values that reproduce runs from before a setting existed; newer settings declare theirs with `Before`."""

_TRAINING_CAME_LATER: Mapping[str, Any] = {"average": None, "stopping": "best"}

_FREE = "checkpoint_minutes"
"""A setting that has no effect on the results."""


def came_later(model: str) -> dict[str, Any]:
    """Settings in the identity of a run or search that earlier versions lack, with the values they stood for there.

    Args:
        model: name of the model.
    """
    kind = registry.model_class(model).config_type
    found = _older_defaults(kind) | kind.before() | dict(_TRAINING_CAME_LATER) | TrainingConfig.before()
    return {f"{SETTING}{key}": value for key, value in found.items()}


def has_settings_of(
    recipe: Recipe, config: Mapping[str, Any], training: Mapping[str, Any], device: str
) -> bool:
    """Whether a run was trained with the settings of a recipe; arguments as in `other_setting`."""
    return other_setting(recipe, config, training, device) is None


def other_setting(
    recipe: Recipe, config: Mapping[str, Any], training: Mapping[str, Any], device: str
) -> str | None:
    """The first setting in which a run and a recipe differ, as text for a message; None if there is none.

    Args:
        recipe: the recipe that is wanted.
        config: the run's model settings, as its version saved them.
        training: its training settings, with ``precision`` resolved for the device.
        device: device that it was trained on.
    """
    try:
        then = _stored(type(recipe.config), config).identity()
        trained = TrainingConfig.model_validate({**_TRAINING_CAME_LATER, **training}).model_dump(mode="json")
    except (ValidationError, ValueError):  # a setting that no longer exists, or one that is missing
        return "its settings are from another version"
    now = recipe.config.identity() | recipe.training.on(torch.device(device)).model_dump(mode="json")
    had = then | trained
    for key in sorted((had.keys() | now.keys()) - {_FREE}):
        if had.get(key) != now.get(key):
            return f"{key} = {had.get(key)}, now {now.get(key)}"
    return None


def settings_now(model: str, config: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run as this version saves them, without those that have no effect on the results.

    Settings that this version cannot read are returned as they were saved.

    Args:
        model: name of the model.
        config: the run's model settings, as its version saved them.
        training: its training settings.
    """
    try:
        now = _stored(registry.model_class(model).config_type, config).model_dump(mode="json", by_alias=True)
        trained = TrainingConfig.model_validate({**_TRAINING_CAME_LATER, **training}).model_dump(mode="json")
    except (ConfigError, ValueError):
        now, trained = dict(config), dict(training)
    return {key: value for key, value in (now | trained).items() if key != _FREE}


def check_settings(run: Run, recipe: Recipe) -> None:
    """Refuse a finished run whose settings differ from a recipe, such as one of an earlier version.

    Raises:
        ConfigError: a setting differs.
        ModelFileError: the run is damaged.
    """
    other = other_setting(recipe, run.info.config, run.info.training, run.record.device)
    if other is not None:
        raise ConfigError(
            f"{run.directory}: holds a run with other settings: {other}; remove it, or give another --out"
        )


def _stored(kind: type[ModelConfig], config: Mapping[str, Any]) -> ModelConfig:
    return kind.of_stored({**_older_defaults(kind), **config})


def _older_defaults(kind: type[ModelConfig]) -> dict[str, Any]:
    keys = {info.alias or name for name, info in kind.model_fields.items()}
    return {key: _CAME_LATER[key] for key in keys & _CAME_LATER.keys()}
