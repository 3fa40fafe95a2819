"""Translate a RecBole configuration into settings of this library; every key is applied or reported with a reason.

Keys missing from the file have RecBole's defaults, not ours, so that a run is the one that RecBole would do: no k-core,
prefixes as examples, batches of 2048. Rows are held out like RecBole's ``LS: valid_and_test``; a random split is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mclrec.data.origin import Reading
from mclrec.errors import ConfigError, unknown_name
from mclrec.integrations.recbole_keys import MODELS
from mclrec.integrations.recbole_rules import RULES
from mclrec.integrations.recbole_translation import Note, Translation
from mclrec.integrations.recbole_yaml import read_yaml
from mclrec.models import registry

__all__ = ["Note", "RecBoleConfig", "read_config", "translate"]


@dataclass(frozen=True, slots=True)
class RecBoleConfig:
    """A translated RecBole configuration.

    Attributes:
        model: name of the model here; None if the file names none.
        settings: settings of the model and its training, by our keys.
        origins: the key in the file for each setting; settings without one have RecBole's default.
        reading: how the log is read.
        seed: seed of all random numbers.
        device: cpu if the file says so; None for auto.
        split_problem: why the file's split is not supported; None if it is leave-one-out.
        taken: keys that were applied.
        left: keys that were not applied.
        assumed: RecBole's defaults that were applied.
    """

    model: str | None
    settings: Mapping[str, Any]
    origins: Mapping[str, str]
    reading: Reading
    seed: int
    device: str | None
    split_problem: str | None
    taken: tuple[Note, ...]
    left: tuple[Note, ...]
    assumed: tuple[Note, ...]


def read_config(path: Path, model: str | None = None) -> RecBoleConfig:
    """Read a RecBole configuration.

    Args:
        path: a YAML file.
        model: name of a model here, which overrides the file's.

    Raises:
        ConfigError: the file cannot be read, or one of its values is not valid for RecBole.
    """
    try:
        return translate(read_yaml(path), model)
    except ConfigError as problem:
        text = str(problem)
        raise ConfigError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def translate(values: Mapping[Any, Any], model: str | None = None) -> RecBoleConfig:
    """Translate the keys of a RecBole configuration; see `read_config`."""
    name = _model_of(values) if model is None else model
    if name is not None:
        registry.entry(name)
    work = Translation(values, name or "mclrec", RULES)
    if "model" in values:
        work.say("model", f"--model {name}") if model is None else work.leave(
            "model", f"{model} was requested"
        )
    for key in values:
        if key != "model":
            work.translate(key)
    work.assume()
    return RecBoleConfig(
        name,
        work.settings,
        work.origins,
        work.reading(),
        work.seed,
        work.device,
        work.split_problem,
        tuple(work.taken),
        tuple(work.left),
        tuple(work.assumed),
    )


def _model_of(values: Mapping[Any, Any]) -> str | None:
    """Our name of the model that a file names; None if it names none.

    Raises:
        ConfigError: this library has no such model.
    """
    if values.get("model") is None:
        return None
    given = values["model"]
    found = {known.lower(): ours for known, ours in MODELS.items()}.get(str(given).lower())
    if found is None:
        raise ConfigError(f"{unknown_name('model', given, MODELS)}; choose one to train with --model")
    return found
