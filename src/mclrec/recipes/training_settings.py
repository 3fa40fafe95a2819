"""Training settings that have an effect on a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mclrec.errors import ConfigError
from mclrec.models import registry
from mclrec.models.model_config import ModelConfig
from mclrec.training.config import TrainingConfig

__all__ = ["UselessSettingError", "check_training", "training_keys"]

_VALIDATION = frozenset({"metric", "seen", "validation_targets"})
"""Training settings that apply to models that only count: how a search compares them."""

_CALIBRATION = frozenset({"calibrate_scores"})
"""Training settings of the calibration, which chooses by validation after training."""


class UselessSettingError(ConfigError):
    """A setting was given that has no effect.

    Attributes:
        key: key of the setting.
    """

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


def training_keys(model: str) -> frozenset[str]:
    """Training settings that can have an effect on a model; if it only counts, those of its single validation.

    Raises:
        ConfigError: no such model.
    """
    calibrated = registry.model_class(model).config_type.calibrated_with
    counts = registry.entry(model).only_counts
    keys = _VALIDATION | _CALIBRATION if counts else frozenset(TrainingConfig.model_fields)
    return keys if calibrated is not None else keys - _CALIBRATION


def check_training(model: str, config: ModelConfig, given: Mapping[str, Any], where: str = "") -> None:
    """Refuse training settings that have no effect on a model.

    Args:
        model: name of the model.
        config: configuration of the model.
        given: the settings, by key.
        where: location of the settings in a file, for the message; a file that was written with all settings may
            have ``calibrate_scores = true`` for any model.

    Raises:
        ConfigError: the model only counts, and is not trained.
        UselessSettingError: validation has nothing to calibrate.
    """
    keys, counts = training_keys(model) | _CALIBRATION, registry.entry(model).only_counts
    for key, value in given.items():
        if counts and key not in keys:
            raise ConfigError(
                f"{where}{key} has no effect: {model} only counts and is not trained; leave it out"
            )
        if key in _CALIBRATION and not config.calibrated and not (where and value is True):
            needed = " or ".join(config.calibrated_with or ())
            reason = f"without {needed}" if needed else f"on {model}: nothing is added to its scores"
            raise UselessSettingError(f"{where}{key} has no effect {reason}; leave it out", key)
