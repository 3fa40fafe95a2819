"""``mclrec models`` and ``mclrec datasets``: list all of them, or describe one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mclrec.cli.app import JsonOption, app, examples
from mclrec.cli.terminal import output, plain_table, print_json
from mclrec.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true | false"}


@app.command(epilog=examples("mclrec models", "mclrec models mclrec", "mclrec models sasrec --json"))
def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Model to describe; all are listed if not given."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the models, or one model's settings and recipes."""
    found = list_models() if name is None else describe_model(name)
    if as_json:
        print_json(found)
    elif name is None:
        _print_models(found)
    else:
        _print_model(found)


@app.command(
    epilog=examples(
        "mclrec datasets",
        "mclrec datasets beauty",
        "mclrec datasets sports --groups",
        "mclrec datasets --json",
    )
)
def datasets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Data set or log to describe; all are listed if not given."),
    ] = None,
    groups: Annotated[
        bool, typer.Option("--groups", help="Group users by sequence length, as in the paper's table 5.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the named data sets, or the sizes of one.

    Sizes are those of the paper's table 2, or of its table 5 with --groups.
    """
    if name is not None:
        _print_sizes(name, groups=groups, as_json=as_json)
    elif groups:
        raise ConfigError("--groups needs a data set's name")
    else:
        _print_datasets(as_json=as_json)


def list_models() -> dict[str, dict[str, Any]]:
    """Title, year, paper, family and regimes of each registered model, by name, without importing our models."""
    from mclrec.models import registry

    return {name: _entry(name) for name in registry.entries()}


def describe_model(name: str) -> dict[str, Any]:
    """Describe one model: its registry entry with ``settings``, ``training`` and ``recipes``.

    Each setting, by key, has ``default``, ``allowed`` and ``description``. Each recipe, by section, has ``source`` and
    the ``settings`` that differ from the defaults. A model without a regime is not trained in epochs, and of the
    training settings it has only those of its validation.

    Raises:
        ConfigError: no such model.
    """
    from mclrec.models import registry
    from mclrec.recipes import resolve, section_names
    from mclrec.recipes.training_settings import training_keys
    from mclrec.training.config import TrainingConfig

    entry, trained = _entry(name), training_keys(name)
    recipes = {section: resolve(name, None, section) for section in section_names(name)}
    return {
        "name": name,
        **entry,
        "settings": _settings(registry.model_class(name).config_type),
        "training": {key: about for key, about in _settings(TrainingConfig).items() if key in trained},
        "recipes": {
            section: {"source": recipe.source, "settings": _changes([recipe.config, recipe.training])}
            for section, recipe in recipes.items()
        },
    }


def _entry(name: str) -> dict[str, Any]:
    from mclrec.models import registry

    entry = registry.entry(name)
    fields = ("title", "year", "paper", "family", "regimes")
    return {field: getattr(entry, field) for field in fields}


def _changes(configs: Iterable[BaseModel]) -> dict[str, Any]:
    """Values that differ from the defaults."""
    changes: dict[str, Any] = {}
    for config in configs:
        changes |= config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return changes


def _settings(config_type: type[BaseModel]) -> dict[str, dict[str, Any]]:
    from mclrec.models.model_config import ModelConfig

    schema = config_type.model_json_schema(by_alias=True)
    only_with = config_type.only_with() if issubclass(config_type, ModelConfig) else {}
    return {
        key: {
            "default": about.get("default"),
            "allowed": _allowed(about),
            "description": "; ".join(filter(None, [about.get("description"), only_with.get(key)])),
        }
        for key, about in schema["properties"].items()
    }


def _allowed(about: Mapping[str, Any]) -> str:
    """The values that a JSON schema allows, as text."""
    if "anyOf" in about:
        return " | ".join(_allowed(option) for option in about["anyOf"])
    if "enum" in about:
        return " | ".join(about["enum"])
    if "const" in about:
        return str(about["const"])
    if about.get("type") == "null":
        return "none"
    bounds = ", ".join(f"{sign} {about[key]:g}" for key, sign in _BOUNDS.items() if key in about)
    return f"{_TYPES[about['type']]} {bounds}".strip()


def _print_models(found: Mapping[str, Mapping[str, Any]]) -> None:
    table = plain_table("name", "year", "family", "regimes", "paper", left=5)
    for name, entry in found.items():
        regimes = _grouped(entry["regimes"])
        table.add_row(name, str(entry["year"] or ""), entry["family"], regimes, entry["paper"])
    output().print(table)


def _grouped(regimes: Sequence[str]) -> str:
    """Regimes as ``a | b / x | y`` where each of a and b is combined with each of x and y."""
    losses: dict[str, list[str]] = {}
    for regime in regimes:
        unit, _, loss = regime.partition("/")
        losses.setdefault(unit, []).append(loss)
    groups: dict[str, list[str]] = {}
    for unit, of_unit in losses.items():
        groups.setdefault(" | ".join(of_unit), []).append(unit)
    return ", ".join(f"{' | '.join(units)} / {of_units}" for of_units, units in groups.items())


def _print_model(about: Mapping[str, Any]) -> None:
    console = output()
    console.print(f"{about['title']}: {about['paper']}")
    for title in ("settings", "training"):
        if about[title]:
            console.print()
            console.print(_settings_table(title, about[title]))
    console.print("\nrecipes", style="bold")
    for section, recipe in about["recipes"].items():
        changes = " ".join(f"{key}={_setting_text(value)}" for key, value in recipe["settings"].items())
        console.print(f"{section}: {recipe['source']}" + (f"\n  {changes}" if changes else ""))


def _settings_table(title: str, settings: Mapping[str, Mapping[str, Any]]) -> Table:
    table = plain_table(title, "default", "allowed", "", left=4)
    table.columns[0].no_wrap = True
    for key, about in settings.items():
        table.add_row(key, _setting_text(about["default"]), about["allowed"], about["description"])
    return table


def _setting_text(value: Any) -> str:
    """A value in the form that ``--set`` accepts."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _print_datasets(*, as_json: bool) -> None:
    from mclrec.data.datasets import datasets

    if as_json:
        fields = ("about", "users", "items", "interactions", "fingerprint")
        print_json({known.name: {field: getattr(known, field) for field in fields} for known in datasets()})
        return
    table = plain_table("name", "users", "items", "interactions", "about")
    table.columns[-1].justify = "left"
    for known in datasets():
        sizes = (known.users, known.items, known.interactions)
        table.add_row(known.name, *("" if size is None else f"{size:,}" for size in sizes), known.about)
    output().print(table)


def _print_sizes(name: str, *, groups: bool, as_json: bool) -> None:
    """Print the data's row of table 2, or its rows of table 5."""
    from mclrec.data.loading import load
    from mclrec.data.statistics import table2, table5

    data = load(name)
    rows = table5(data) if groups else [table2(data)]
    if as_json:
        for row in rows:
            print_json({**asdict(row), "average_length": row.average_length, "sparsity": row.sparsity})
        return
    heading, title = ("length", data.name) if groups else ("data set", None)
    table = plain_table(heading, "#users", "#items", "#actions", "avg.length", "sparsity", title=title)
    for row in rows:
        table.add_row(
            row.name,
            str(row.users),
            str(row.items),
            str(row.actions),
            f"{row.average_length:.1f}",
            f"{row.sparsity:.2%}",
        )
    output().print(table)
