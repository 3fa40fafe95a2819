"""What ``mclrec models`` says: the registry, and one model's settings and recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from mclrec.models import registry

__all__ = ["describe", "listing"]

_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true | false"}


def listing() -> dict[str, dict[str, Any]]:
    """The registry, by name; imports no model."""
    return {name: _entry(name) for name in registry.names()}


def describe(name: str) -> dict[str, Any]:
    """One model: its line of the registry, ``settings``, ``training`` and ``recipes``.

    Settings are by key, with ``default``, ``allowed`` and ``description``; recipes by section, with ``source`` and
    the ``settings`` that differ from the defaults. A model without a regime is not trained in epochs, so that it has
    no settings of training.

    Raises:
        ConfigError: no such model.
    """
    from mclrec.recipes import resolve, section_names
    from mclrec.training.config import TrainingConfig

    entry = _entry(name)
    recipes = {section: resolve(name, "", section) for section in section_names(name)}
    return {
        "name": name,
        **entry,
        "settings": _settings(registry.model_class(name).config_type),
        "training": _settings(TrainingConfig) if entry["regimes"] else {},
        "recipes": {
            section: {"source": recipe.source, "settings": _changes([recipe.config, recipe.training])}
            for section, recipe in recipes.items()
        },
    }


def _entry(name: str) -> dict[str, Any]:
    entry = registry.entry(name)
    fields = ("title", "year", "paper", "family", "regimes")
    return {field: getattr(entry, field) for field in fields}


def _changes(configs: Iterable[BaseModel]) -> dict[str, Any]:
    """What is not the default."""
    changes: dict[str, Any] = {}
    for config in configs:
        changes |= config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return changes


def _settings(config_type: type[BaseModel]) -> dict[str, dict[str, Any]]:
    schema = config_type.model_json_schema(by_alias=True)
    return {
        key: {
            "default": about.get("default"),
            "allowed": _allowed(about),
            "description": about.get("description", ""),
        }
        for key, about in schema["properties"].items()
    }


def _allowed(about: Mapping[str, Any]) -> str:
    """Values that a JSON schema allows, for a person."""
    if "anyOf" in about:
        return " | ".join(_allowed(option) for option in about["anyOf"])
    if "enum" in about:
        return " | ".join(about["enum"])
    if about.get("type") == "null":
        return "none"
    bounds = ", ".join(f"{sign} {about[key]:g}" for key, sign in _BOUNDS.items() if key in about)
    return f"{_TYPES[about['type']]} {bounds}".strip()
