"""Recipes: the settings of one model on one data set, where they come from, and the numbers to expect.

`MODEL.toml` holds a model's sections: ``[default]``, then one for each data set or variant. A section has
``source`` (a text), ``[SECTION.model]`` and ``[SECTION.training]`` (keys of the two configurations; those it
leaves out come from ``[default]``) and ``[SECTION.expect.DATA]`` (intervals for the mean of several seeds on
one data set, never inherited). ``[SECTION.search]`` is the search space of `mclrec tune` (`mclrec.recipes.space`); a
section without one has that of ``[default]``. A section with nothing but ``same_as`` is an alias of an earlier one. A
user's own file has ``source``, ``[model]``, ``[training]`` and ``[search]`` at the top level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mclrec.data.datasets import dataset as data_set
from mclrec.errors import ConfigError, invalid_value, unknown_name
from mclrec.files import write_text
from mclrec.models import registry
from mclrec.models.model_config import ModelConfig, NoEffectError
from mclrec.recipes.auto import AUTO, Choice, DataSizes, choose
from mclrec.recipes.toml_text import (
    NONE,
    Table,
    lines_of,
    parse_setting,
    parse_toml,
    read_toml,
    text_of_value,
)
from mclrec.recipes.training_settings import UselessSettingError, check_training, training_keys
from mclrec.training.config import TrainingConfig

__all__ = [
    "Expectation",
    "Recipe",
    "UselessSettingError",
    "default_recipe",
    "is_auto",
    "parse_setting",
    "resolve",
    "search_table",
    "section_names",
    "setting_keys",
    "unknown_setting",
    "write_recipe",
]

Config = TypeVar("Config", bound=BaseModel)
_DEFAULT = "default"
_RENAMED = {
    "longest": "max_length",
    "width": "hidden_size",
    "inner": "inner_size",
    "hidden": "inner_size",
    "base": "encoder",
}
"""Current names of renamed settings, by earlier name."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Expected intervals of the test metrics, for the mean of several seeds.

    Attributes:
        protocol: "U" (earlier items stay candidates) or "F" (they are removed).
        intervals: lowest and highest value by metric, for example ``{"hr@20": (0.115, 0.123)}``.
    """

    protocol: str
    intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a run: all that determines it except the data and the seed.

    Attributes:
        model: name of the model.
        section: section of the model's recipes, or the recipe file.
        source: where the settings come from.
        config: the model's configuration.
        training: the trainer's configuration.
        expect: the numbers to expect on this data set; None where there are none or settings were overridden.
        choices: what the rules of the recipe `auto` chose from the sizes of the data, without overridden settings.
    """

    model: str
    section: str
    source: str
    config: ModelConfig
    training: TrainingConfig
    expect: Expectation | None
    choices: Sequence[Choice] = ()


@dataclass(frozen=True, slots=True)
class _Section:
    """A section as written, before its keys are checked."""

    name: str
    where: str
    source: str = ""
    model: Table = field(default_factory=dict)
    training: Table = field(default_factory=dict)
    expect: Table = field(default_factory=dict)
    search: Table = field(default_factory=dict)


def resolve(
    model: str,
    dataset: str | None,
    recipe: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    sizes: DataSizes | None = None,
) -> Recipe:
    """The recipe of a model for a data set.

    Args:
        model: name of a registered model.
        dataset: name of the registered data set that the data are, according to their fingerprint, whatever they are
            called (`mclrec.data.datasets.known_as`); its section is used if the model has one, else ``default``.
        recipe: another section, or a ``.toml`` file.
        overrides: settings that override the recipe's, by key of either configuration.
        sizes: sizes of the data, for the rules of the recipe ``auto``; without them only its section is used.

    Raises:
        ConfigError: unknown model, section or key (the nearest is named), a value that is not allowed,
            a file that is missing or not TOML.
    """
    chosen = _choose(model, _sections(model), dataset, recipe)
    return _resolved(model, chosen, dataset, recipe is not None, dict(overrides or {}), sizes)


def _resolved(
    model: str,
    chosen: _Section,
    dataset: str | None,
    asked: bool,
    changes: Table,
    sizes: DataSizes | None = None,
) -> Recipe:
    """The recipe of a section; ``asked`` is whether the user named the section, rather than the data set."""
    config_type = registry.model_class(model).config_type
    sections = _sections(model)
    model_changes, training_changes = _route(model, changes, config_type)
    choices = _rule_choices(model, chosen, sizes, {**model_changes, **training_changes})
    layers = (sections[_DEFAULT], chosen, *(_ruled(choice, config_type) for choice in choices))
    config = _build(config_type, [*_model_layers(layers), (model_changes, "")])
    check_training(model, config, training_changes)
    if asked:
        check_training(model, config, chosen.training, f"{chosen.where}.training: ")
    return Recipe(
        model,
        chosen.name,
        chosen.source or sections[_DEFAULT].source,
        config,
        _build(
            TrainingConfig,
            [*((layer.training, f"{layer.where}.training") for layer in layers), (training_changes, "")],
        ),
        None if changes else _expectation(chosen, dataset),
        _in_effect(choices, config),
    )


def default_recipe(model: str, dataset: str | None) -> str | None:
    """The recipe to use if none is given: a data set's own section, or ``auto`` as for any log.

    Args:
        model: name of a registered model.
        dataset: name of a registered data set by which the user asked for the data; None for a log.

    Returns:
        ``auto`` if it applies and the model has it; None for the data set's own section, else the default one.

    Raises:
        ConfigError: no such model.
    """
    sections = _sections(model)
    as_log = dataset is None or (dataset not in sections and data_set(dataset).auto)
    return AUTO if as_log and AUTO in sections else None


def is_auto(model: str, dataset: str | None, recipe: str | Path | None) -> bool:
    """Whether `resolve` uses the recipe ``auto``, under any alias; its rules need the sizes of the data.

    Raises:
        ConfigError: as `resolve`.
    """
    return _choose(model, _sections(model), dataset, recipe).name == AUTO


def search_table(model: str, dataset: str | None, recipe: str | Path | None = None) -> tuple[Table, str]:
    """Search space, as written, of the section that `resolve` uses, else of ``default``; empty if neither has one.

    Returns:
        The table, and its location for messages.

    Raises:
        ConfigError: as `resolve`.
    """
    sections = _sections(model)
    chosen = _choose(model, sections, dataset, recipe)
    section = chosen if chosen.search else sections[_DEFAULT]
    return section.search, f"{section.where}.search"


def setting_keys(model: str) -> dict[str, str]:
    """Canonical keys of the settings of a model and of its training, by each key that is accepted."""
    return {**_keys(TrainingConfig), **_keys(registry.model_class(model).config_type)}


def unknown_setting(of: str, key: object, known: Set[str]) -> str:
    """Message for a setting that does not exist, with its new name or the nearest one.

    Args:
        of: the model or models.
        key: the given key.
        known: keys of the existing settings.
    """
    if isinstance(key, str) and _RENAMED.get(key) in known:
        return f"unknown setting of {of} {key!r}: it is now called {_RENAMED[key]}"
    return unknown_name(f"setting of {of}", key, known)


def section_names(model: str) -> list[str]:
    """Names of the sections of a model's recipes, ``default`` first, without aliases.

    Raises:
        ConfigError: no such model.
    """
    return [name for name, section in _sections(model).items() if section.name == name]


@cache
def _sections(model: str) -> dict[str, _Section]:
    """A model's sections by name; a model without a recipe file has an empty default.

    Cached, because a campaign resolves the settings of its cells repeatedly; sections are never modified.
    """
    registry.entry(model)
    file = files(__name__) / f"{model}.toml"
    tables = read_toml(file) if file.is_file() else {}
    sections: dict[str, _Section] = {}
    for name, table in {_DEFAULT: {}, **tables}.items():
        same = sections.get(table.get("same_as", ""))
        sections[name] = same or _section(table, name, f"{file.name}: {name}")
    if not sections[_DEFAULT].source:
        sections[_DEFAULT] = _Section(_DEFAULT, file.name, "defaults of the model's configuration")
    return sections


def write_recipe(path: Path, recipe: Recipe, source: str) -> None:
    """Write every setting of a recipe that has an effect, so that later defaults do not change the recipe.

    Args:
        path: a file that ends in ``.toml``.
        recipe: the recipe to write.
        source: one line on where its settings come from.

    Raises:
        ConfigError: the text would be read back as another recipe; nothing is written.
    """
    lines = [
        f"source = {text_of_value(source)}",
        *lines_of("model", recipe.config),
        *lines_of("training", recipe.training, training_keys(recipe.model)),
    ]
    text = "\n".join(lines) + "\n"
    read = _resolved(recipe.model, _section(parse_toml(text), str(path), str(path)), None, True, {})
    if (read.config, read.training) != (recipe.config, recipe.training):
        raise ConfigError(f"{path}: no file can express this recipe: it would be read as another one")
    write_text(path, text)


def _rule_choices(
    model: str, chosen: _Section, sizes: DataSizes | None, overrides: Mapping[str, Any]
) -> Sequence[Choice]:
    """Choices of the rules of `auto`, without settings that the user chose."""
    if chosen.name != AUTO or sizes is None:
        return ()
    decided, kept = set(overrides), []
    # Later rules take precedence over earlier ones.
    for choice in reversed(choose(sizes, setting_keys(model).values())):
        if choice.unless is not None and overrides.get(choice.unless) not in (
            None,
            choice.settings[choice.unless],
        ):
            continue
        settings = {key: value for key, value in choice.settings.items() if key not in decided}
        decided |= settings.keys()
        if settings:
            kept.append(Choice(settings, choice.reason))
    return kept[::-1]


def _in_effect(choices: Sequence[Choice], config: ModelConfig) -> Sequence[Choice]:
    """Choices without settings that have no effect, because of what the user chose: those are not reported."""
    idle = config.idle()
    kept = [
        replace(one, settings={key: value for key, value in one.settings.items() if key not in idle})
        for one in choices
    ]
    return [one for one in kept if one.settings]


def _ruled(choice: Choice, config_type: type[ModelConfig]) -> _Section:
    """A rule's choice as a layer of settings."""
    of_model = _keys(config_type)
    model = {key: value for key, value in choice.settings.items() if key in of_model}
    training = {key: value for key, value in choice.settings.items() if key not in of_model}
    return _Section(AUTO, f"rule of {AUTO}", model=model, training=training)


def _choose(
    model: str, sections: Mapping[str, _Section], dataset: str | None, recipe: str | Path | None
) -> _Section:
    if recipe is None:
        return sections.get(dataset or "", sections[_DEFAULT])
    if Path(recipe).suffix == ".toml":
        return _section(read_toml(Path(recipe)), str(recipe), str(recipe))
    if str(recipe) not in sections:
        raise ConfigError(unknown_name(f"recipe of {model}", str(recipe), sections))
    return sections[str(recipe)]


def _section(table: Any, name: str, where: str) -> _Section:
    kinds = {"source": str, "model": dict, "training": dict, "expect": dict, "search": dict}
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: should be a table")
    for key, value in table.items():
        if key not in kinds:
            raise ConfigError(f"{where}: {unknown_name('key', key, kinds)}")
        if not isinstance(value, kinds[key]):
            raise ConfigError(f"{where}: {key} should be a {'string' if key == 'source' else 'table'}")
    return _Section(name, where, **table)


def _model_layers(sections: Iterable[_Section]) -> list[tuple[Table, str]]:
    return [(section.model, f"{section.where}.model") for section in sections]


def _keys(config_type: type[BaseModel]) -> dict[str, str]:
    """Canonical keys by each key that is accepted: a field's alias, if it has one, also for its name."""
    keys = {name: info.alias or name for name, info in config_type.model_fields.items()}
    return keys | {key: key for key in keys.values()}


def _route(model: str, changes: Table, config_type: type[BaseModel]) -> tuple[Table, Table]:
    """Split overrides into those of the model's configuration and those of the trainer's."""
    of_model, of_training = _keys(config_type), _keys(TrainingConfig)
    for key in changes:
        if key not in of_model and key not in of_training:
            raise ConfigError(unknown_setting(model, key, {*of_model.values(), *of_training.values()}))
    return (
        {of_model[key]: value for key, value in changes.items() if key in of_model},
        {of_training[key]: value for key, value in changes.items() if key not in of_model},
    )


def _build(config_type: type[Config], layers: Sequence[tuple[Table, str]]) -> Config:
    """Build a configuration from tables and their locations, "" for overrides; later tables override earlier ones."""
    keys = _keys(config_type)
    tables: list[Table] = []
    origins: dict[str, str] = {}
    prefixes = [f"{where}: " if where else "" for _, where in layers]
    for (table, _), prefix in zip(layers, prefixes, strict=True):
        for key in table:
            if key not in keys:
                raise ConfigError(f"{prefix}{unknown_name('key', key, set(keys.values()))}")
        # The word none means None in Python and in TOML, as on the command line.
        none = {key for key, value in table.items() if isinstance(value, str) and value == NONE}
        tables.append({keys[key]: None if key in none else value for key, value in table.items()})
        origins |= dict.fromkeys(tables[-1], prefix)
    try:
        if issubclass(config_type, ModelConfig):
            return config_type.of_layers(*tables)
        return config_type.model_validate({key: value for table in tables for key, value in table.items()})
    except NoEffectError as problem:
        raise UselessSettingError(f"{prefixes[problem.layer]}{problem}", problem.key) from None
    except ValidationError as problem:
        failed = str(next(iter(problem.errors()[0]["loc"]), ""))
        raise ConfigError(origins.get(failed, "") + invalid_value(problem)) from None


def _expectation(section: _Section, dataset: str | None) -> Expectation | None:
    if dataset is None or dataset not in section.expect:
        return None
    table = dict(section.expect[dataset])
    protocol = table.pop("protocol")
    return Expectation(protocol, {metric: (float(low), float(high)) for metric, (low, high) in table.items()})
