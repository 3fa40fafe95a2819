"""Writing a recipe as TOML that ``--recipe FILE`` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mclrec.errors import ConfigError
from mclrec.files import write_text
from mclrec.recipes import Recipe, resolve

__all__ = ["write_recipe"]


def write_recipe(path: Path, recipe: Recipe, source: str) -> None:
    """Write every setting of a recipe that has an effect, so that it does not change when defaults do.

    Args:
        path: a file that ends in ``.toml``.
        recipe: what to write.
        source: where its settings come from, in a line.

    Raises:
        ConfigError: a setting is none where TOML, which has no word for that, would say something else.
    """
    lines = [
        f"source = {_toml(source)}",
        *_table("model", recipe.config),
        *_table("training", recipe.training),
    ]
    write_text(path, "\n".join(lines) + "\n")
    read = resolve(recipe.model, None, path)
    if (read.config, read.training) != (recipe.config, recipe.training):
        raise ConfigError(
            f"{path}: the recipe sets to none what is a number by default, which TOML cannot say"
        )


def _table(name: str, config: BaseModel) -> list[str]:
    values = config.model_dump(mode="json", by_alias=True)
    return [
        "",
        f"[{name}]",
        *(f"{key} = {_toml(value)}" for key, value in values.items() if value is not None),
    ]


def _toml(value: Any) -> str:
    """A number, text or truth value: what JSON and TOML write alike."""
    return json.dumps(value, ensure_ascii=False)
