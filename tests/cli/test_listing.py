"""``mclrec models``: the registered models and their settings."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import Cli

from mclrec.models import registry
from mclrec.recipes import resolve, section_names


def test_all_models_are_listed(cli: Cli) -> None:
    lines = cli("models").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == registry.names()
    listing = json.loads(cli("models", "--json").out)
    assert list(listing) == registry.names()
    assert listing["mclrec"]["year"] == 2023


@pytest.mark.parametrize("name", registry.names())
def test_a_model_shows_what_its_configuration_holds(cli: Cli, name: str) -> None:
    about = json.loads(cli("models", name, "--json").out)
    fields = registry.model_class(name).config_type.model_fields
    defaults = {info.alias or field: info.default for field, info in fields.items()}
    assert {key: entry["default"] for key, entry in about["settings"].items()} == defaults
    assert all(entry["description"] for entry in about["settings"].values())
    assert list(about["recipes"]) == section_names(name)
    text = cli("models", name).out
    assert all(key in text for key in [*about["settings"], *about["training"], *about["recipes"]])


@pytest.mark.parametrize("name", ["mclrec", "sasrec", "markov"])
def test_recipes_are_shown_as_settings_that_repeat_them(cli: Cli, name: str) -> None:
    about = json.loads(cli("models", name, "--json").out)
    for section, recipe in about["recipes"].items():
        # Applied to the defaults: a recipe's key that equals the default need not be listed.
        expected = resolve(name, "", section)
        base = {**expected.config.model_dump(mode="json", by_alias=True), **expected.training.model_dump()}
        defaults = {
            key: entry["default"] for key, entry in {**about["settings"], **about["training"]}.items()
        }
        in_effect = {key: value for key, value in base.items() if key in defaults}
        assert defaults | recipe["settings"] == defaults | in_effect


def test_a_setting_of_one_value_names_it(cli: Cli) -> None:
    settings = json.loads(cli("models", "bsarec", "--json").out)["settings"]
    assert settings["norm"]["allowed"] == "post"
    assert settings["filter"]["allowed"] == "window | causal"


def test_allowed_values(cli: Cli) -> None:
    settings = json.loads(cli("models", "mclrec", "--json").out)["settings"]
    assert settings["updates"]["allowed"] == "three | two | joint"
    assert settings["crop_ratio"]["allowed"] == "number > 0, <= 1"
    assert settings["gamma"]["allowed"] == "number >= 0 | none"
    assert settings["layers"]["allowed"] == "integer >= 1, <= 100"
    assert settings["shared_augmenter"]["allowed"] == "true | false"
    text = cli("models", "mclrec").out
    assert "lambda " in text
    assert "lambda=0.0 beta=0.05" in text
    assert ["gamma", "none"] in [line.split()[:2] for line in text.splitlines()]
    assert ["layers", "2"] in [line.split()[:2] for line in text.splitlines()]
    assert ["shared_augmenter", "false"] in [line.split()[:2] for line in text.splitlines()]


def test_trivial_models_are_not_trained_in_epochs(cli: Cli) -> None:
    about = json.loads(cli("models", "markov", "--json").out)
    assert list(about["training"]) == ["metric", "seen", "validation_targets"]
    assert list(about["settings"]) == ["window"]
