"""Written recipes are read back unchanged, whatever their settings are."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy

from mclrec.configuration import Configuration
from mclrec.errors import ConfigError
from mclrec.models import registry
from mclrec.recipes import Recipe, resolve, section_names, write_recipe
from mclrec.training.config import TrainingConfig

TRAINED = [name for name in registry.names() if registry.entry(name).regimes]


def none_settings() -> Iterator[tuple[str, str]]:
    """Models with those of their settings, or of training's, that may be None."""
    for name, info in TrainingConfig.model_fields.items():
        if type(None) in get_args(info.annotation):
            yield "mclrec", info.alias or name
    for model in TRAINED:
        for name, info in registry.model_class(model).config_type.model_fields.items():
            if type(None) in get_args(info.annotation):
                yield model, info.alias or name


def values(kind: Any) -> SearchStrategy[Any]:
    """Values of a setting's type, some of which are not allowed."""
    if get_origin(kind) in (Union, types.UnionType):
        return st.one_of(*map(values, get_args(kind)))
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    numbers = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1e-7, 1.0]))
    known = {bool: st.booleans(), int: st.sampled_from([1, 2, 4, 50, 100_000]), float: numbers}
    return st.none() if kind is type(None) else known.get(kind, st.just("ndcg@10"))


def written_and_read(recipe: Recipe, path: Path, source: str = "a search") -> None:
    write_recipe(path, recipe, source)
    read = resolve(recipe.model, "anything", path)
    assert (read.config, read.training, read.source) == (recipe.config, recipe.training, source)


@pytest.mark.parametrize(("model", "key"), list(none_settings()))
def test_none_is_written_and_read(tmp_path: Path, model: str, key: str) -> None:
    for section in section_names(model):
        try:
            recipe = resolve(model, None, section, {key: None})
        except ConfigError:  # the setting has no effect there
            continue
        written_and_read(recipe, tmp_path / "best.toml")


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_recipe_is_written_and_read(tmp_path: Path, data: DataObject) -> None:
    model = data.draw(st.sampled_from(TRAINED))
    types_of: tuple[type[Configuration], ...] = (TrainingConfig, registry.model_class(model).config_type)
    fields = {
        info.alias or name: info.annotation
        for config_type in types_of
        for name, info in config_type.model_fields.items()
    }
    keys = data.draw(st.sets(st.sampled_from(sorted(fields)), max_size=4))
    chosen = {key: data.draw(values(fields[key])) for key in sorted(keys)}
    try:
        recipe = resolve(model, None, data.draw(st.sampled_from(section_names(model))), chosen)
    except ConfigError:
        assume(False)
    source = data.draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5))
    written_and_read(recipe, tmp_path / "best.toml", source)


def test_what_cannot_be_said_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "best.toml"
    write_recipe(path, resolve("sasrec", None, "default"), "before")
    before = path.read_text()
    recipe = resolve("sasrec", None, "default")
    other = recipe.training.model_copy(
        update={"metric": "none"}
    )  # which is no metric, and is read as no value
    with pytest.raises(ConfigError):
        write_recipe(path, Recipe("sasrec", "default", "", recipe.config, other, None), "after")
    assert path.read_text() == before
