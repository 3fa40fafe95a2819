"""``--recbole FILE`` of ``mclrec train``: a RecBole configuration, which the other options override."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mclrec.errors import ConfigError
from mclrec.wording import count_of

if TYPE_CHECKING:
    from mclrec.data.origin import Reading
    from mclrec.integrations.recbole_config import Note, RecBoleConfig

__all__ = ["Given", "Requested", "with_recbole"]

_SPLITS = ("split", "valid_from", "test_from", "valid")
_DEFAULT = "default"
_KEYS = {
    "seed": ("seed",),
    "device": ("use_gpu",),
    "min_count": ("user_inter_num_interval", "item_inter_num_interval"),
    "where": ("val_interval",),
    "user_column": ("USER_ID_FIELD",),
    "item_column": ("ITEM_ID_FIELD",),
    "time_column": ("TIME_FIELD",),
    "drop_repeats": ("rm_dup_inter",),
    **dict.fromkeys(_SPLITS, ("eval_args.split",)),
}
"""RecBole keys that an option overrides, by the parameter of the option."""

_LOG_OPTIONS = ("min_count", "where", "user_column", "item_column", "time_column", "drop_repeats")


@dataclass(frozen=True, slots=True)
class Given:
    """The options of the command line.

    Attributes:
        names: parameters that were given explicitly, rather than left at their defaults.
        model: name of the model.
        recipe: section or file; None where not given.
        settings: those given with ``--set``.
        seed: random seed.
        device: auto, cpu or cuda.
        reading: how the log is read.
    """

    names: Collection[str]
    model: str
    recipe: str | None
    settings: Mapping[str, Any]
    seed: int
    device: str
    reading: Reading


@dataclass(frozen=True, slots=True)
class Requested:
    """The training that the command line and the file together ask for.

    Attributes:
        model: name of the model.
        recipe: section or file.
        settings: settings of the model and its training.
        seed: random seed.
        device: auto, cpu or cuda.
        reading: how the log is read.
        lines: human-readable lines on what became of each key.
    """

    model: str
    recipe: str
    settings: Mapping[str, Any]
    seed: int
    device: str
    reading: Reading
    lines: list[str]

    def command(self, data: str, split: str) -> str:
        """The equivalent command without the file."""
        from mclrec.data.split_rules import SplitRule
        from mclrec.runs.request import setting_words

        words = ["mclrec", "train", data, *self.reading.words(), "--model", self.model]
        words += ["--recipe", self.recipe, "--seed", str(self.seed)]
        words += [] if self.device == "auto" else ["--device", self.device]
        return shlex.join([*words, *SplitRule.of(split).words(), *setting_words(self.settings)])


def with_recbole(path: Path, data: str, given: Given) -> Requested:
    """Merge a RecBole configuration with the options of the command line, which take precedence.

    Args:
        path: path of the configuration.
        data: the log given on the command line.
        given: the options of the command line.

    Raises:
        ConfigError: the file cannot be read or asks for an unsupported split, or a setting is not allowed.
    """
    from mclrec.data.datasets import is_dataset
    from mclrec.data.loading import is_prepared
    from mclrec.integrations.recbole_config import read_config

    found = read_config(path, given.model if "model" in given.names else None)
    if found.split_problem and not any(name in given.names for name in _SPLITS):
        raise ConfigError(f"{path}: {found.split_problem}")
    model = found.model or given.model
    settings = {
        key: value for key, value in found.settings.items() if given.recipe is None or key in found.origins
    }
    recipe = given.recipe or _DEFAULT
    mine, dropped = _settled(path, model, recipe, settings, found.origins, given.settings)
    gives_way = _overridden_keys(found, given) | dropped
    reading = given.reading.filled(found.reading)
    if is_dataset(data) or is_prepared(data):
        reading = given.reading
        read = {key for name in _LOG_OPTIONS for key in _KEYS[name]}
        gives_way |= {one.key: f"{data} is prepared already" for one in found.taken if one.key in read}
    lines = _lines(path, found, gives_way, given)
    return Requested(
        model,
        recipe,
        {**mine, **given.settings},
        given.seed if "seed" in given.names else found.seed,
        given.device if "device" in given.names else found.device or given.device,
        reading,
        lines,
    )


def _settled(
    path: Path,
    model: str,
    recipe: str,
    settings: Mapping[str, Any],
    origins: Mapping[str, str],
    given: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, str]]:
    """The file's settings that have an effect together with the command line's, and by key why others have none.

    Raises:
        ConfigError: a value is not allowed.
    """
    from mclrec.recipes.possible import possible

    kept = {key: value for key, value in settings.items() if key not in given}
    dropped: dict[str, str] = {}
    while True:
        try:
            possible(model, None, recipe, {**kept, **given})
        except ConfigError as problem:
            guilty = next(
                (key for key in kept if f"{key} " in f"{problem} " and "no effect" in str(problem)), None
            )
            if guilty is None:
                raise ConfigError(f"{path}: {problem}") from None
            del kept[guilty]
            if guilty in origins:
                dropped[origins[guilty]] = str(problem)
        else:
            return kept, dropped


def _overridden_keys(found: RecBoleConfig, given: Given) -> dict[str, str]:
    """RecBole keys that options override, each with a text that names the option."""
    said = {
        key: f"gives way to --{name.replace('_', '-')}"
        for name, keys in _KEYS.items()
        if name in given.names
        for key in keys
    }
    said |= {
        origin: f"gives way to --set {setting}"
        for setting, origin in found.origins.items()
        if setting in given.settings
    }
    if "model" in given.names:
        said["model"] = "gives way to --model"
    return said


def _lines(path: Path, found: RecBoleConfig, gives_way: Mapping[str, str], given: Given) -> list[str]:
    """Lines on what became of each key, and on RecBole's defaults."""
    taken = [one for one in found.taken if one.key not in gives_way]
    left = {one.key: one.text for one in found.left}
    left |= {key: text for key, text in gives_way.items() if key in left or _has(found.taken, key)}
    lines = [f"{path}: {count_of(len(taken), 'key')} of RecBole in effect, {len(left)} not"]
    lines += [f"  {one.key}: {one.text}" for one in taken]
    lines += [f"  not in effect: {key}: {text}" for key, text in left.items()]
    if given.recipe is not None:
        return [*lines, f"  settings that the file does not state come from the recipe {given.recipe}"]
    assumed = [
        one.text
        for one in found.assumed
        if one.key not in gives_way and one.text.partition(" = ")[0] not in given.settings
    ]
    return [*lines, f"  RecBole's defaults: {', '.join(dict.fromkeys(assumed))}"] if assumed else lines


def _has(notes: Collection[Note], key: str) -> bool:
    return any(one.key == key for one in notes)
