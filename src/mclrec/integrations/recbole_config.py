"""A RecBole configuration as settings of this library: each key of it is in effect, or named with the reason why not.

What a file does not say has RecBole's default, not ours, so that a run is the one that RecBole would do: no k-core,
prefixes as examples, batches of 2048. Rows are held out as RecBole's ``LS: valid_and_test`` does; a random split is
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
    """A RecBole configuration in this library's words.

    Attributes:
        model: name of the model here; None where the file names none.
        settings: of the model and its training, by our keys.
        origins: the file's key of each setting; settings without one have RecBole's default.
        reading: how the log is read.
        seed: of everything random.
        device: cpu where the file says so; None for auto.
        split_problem: why the file's split cannot be made; None where it is leave-one-out.
        taken: keys in effect.
        left: keys that are not.
        assumed: RecBole's defaults that are in effect.
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
        model: name of a model here that goes before the file's.

    Raises:
        ConfigError: the file cannot be read, or a value of it is none that RecBole takes.
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
            "model", f"{model} is asked for"
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
    """The name here of the model that a file names.

    Raises:
        ConfigError: there is no such model here.
    """
    if values.get("model") is None:
        return None
    given = values["model"]
    found = {known.lower(): ours for known, ours in MODELS.items()}.get(str(given).lower())
    if found is None:
        raise ConfigError(f"{unknown_name('model', given, MODELS)}; say with --model which to train instead")
    return found
