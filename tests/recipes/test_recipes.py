"""Recipes: choice of the section, precedence of files and overrides, and error messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from tests.helpers import tiny_data

from mclrec.errors import ConfigError
from mclrec.experiments.planned_runs import PlannedRun, RunStore
from mclrec.models import registry
from mclrec.models.base import ModelConfig
from mclrec.recipes import (
    Recipe,
    default_recipe,
    parse_setting,
    resolve,
    section_names,
    setting_keys,
    write_recipe,
)
from mclrec.recipes.auto import DataSizes
from mclrec.recipes.possible import possible
from mclrec.training.config import TrainingConfig

BUILT_IN = ("mclrec", "sasrec", "popularity", "recency", "markov", "itemknn", "ease")


class PlainConfig(ModelConfig):
    lambda_: float = Field(default=0.5, ge=0, alias="lambda")
    hidden_size: int = Field(default=8, ge=1)
    gamma: float | None = None


class Plain:
    config_type = PlainConfig


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> str:
    """A registered model without a recipe file."""
    line = registry.Entry(f"{__name__}:Plain", "Plain", 2024, "none", "U", ())
    monkeypatch.setitem(registry._MODELS, "plain", line)
    return "plain"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def fails(message: str, *args: Any, **kwargs: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(*args, **kwargs)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", BUILT_IN)
def test_every_built_in_section_resolves(model: str) -> None:
    for section in section_names(model):
        recipe = resolve(model, "unnamed", section)
        assert (recipe.model, recipe.section) == (model, section)
        assert recipe.source
        assert isinstance(recipe.config, registry.model_class(model).config_type)


@pytest.mark.parametrize(
    ("data", "weights"),
    [("beauty", (0, 0.05)), ("sports", (0.04, 0.4)), ("yelp", (0.03, 0.1)), ("toys", (0.01, 0.1))],
)
def test_mclrec_has_the_published_weights(data: str, weights: tuple[float, float]) -> None:
    recipe = resolve("mclrec", data)
    config: Any = recipe.config
    assert (config.lambda_, config.beta, config.gamma) == (*weights, None)
    assert (config.unit, config.updates, config.regularizer) == ("prefixes", "three", "official")
    assert recipe.training == TrainingConfig(
        batch_size=256, epochs=100, patience=10, metric="mrr@10", learning_rate=1e-3
    )


@pytest.mark.parametrize(
    ("model", "recipe", "data", "protocol", "hit_rate", "gain"),
    [
        ("mclrec", None, "beauty", "U", (0.1206, 1), (0.0517, 1)),
        ("mclrec", "sequences", "beauty", "U", (0.1206, 1), (0.0517, 1)),
        ("mclrec", None, "sports", "U", (0.0712, 1), (0.0306, 1)),
        ("mclrec", None, "yelp", "U", (0.0913, 1), (0.0448, 1)),
        ("sasrec", None, "beauty", "U", (0.115, 0.123), (0.048, 0.053)),
        ("sasrec", "bce", "beauty", "F", (0.086, 0.094), (0.037, 0.041)),
        ("sasrec", "bce", "yelp", "F", (0.042, 0.048), (0.017, 0.019)),
    ],
)
def test_expected_numbers(
    model: str,
    recipe: str | None,
    data: str,
    protocol: str,
    hit_rate: tuple[float, float],
    gain: tuple[float, float],
) -> None:
    expect = resolve(model, data, recipe).expect
    assert expect is not None
    assert (expect.protocol, expect.intervals) == (protocol, {"hr@20": hit_rate, "ndcg@20": gain})


def test_numbers_hold_for_one_data_set_and_the_recipe_as_it_is() -> None:
    assert resolve("sasrec", "toys").expect is None
    assert resolve("sasrec", "toys", "bce").expect is None
    assert resolve("mclrec", "sports", "beauty").expect is None
    assert resolve("mclrec", "beauty", overrides={"beta": 0.2}).expect is None


@pytest.mark.parametrize(
    ("model", "data", "recipe"),
    [
        ("mclrec", None, "auto"),
        ("mclrec", "ml-100k", "auto"),
        ("sasrec", "lastfm", "auto"),
        ("bsarec", "lastfm", None),  # has the authors' settings for lastfm
        ("gru4rec", "ml-100k", None),
        ("mclrec", "beauty", None),
        ("sasrec", "toys", None),
    ],
)
def test_logs_without_published_settings_have_auto(model: str, data: str | None, recipe: str | None) -> None:
    assert default_recipe(model, data) == recipe


def test_the_best_recipe_is_auto_by_another_name(tmp_path: Path) -> None:
    sizes = DataSizes(900, 1300, 30, 2400, 90_000, 0.0)
    assert resolve("mclrec", None, "mclrec-best", {}, sizes) == resolve("mclrec", None, "auto", {}, sizes)
    assert len(possible("mclrec", None, "mclrec-best")) == len(possible("mclrec", None, "auto")) > 1
    assert "mclrec-best" not in section_names("mclrec")
    fails("unknown recipe of mclrec 'mclrec-bets'; did you mean 'mclrec-best'", "mclrec", None, "mclrec-bets")
    tiny_data().save(tmp_path / "data")
    place = str(tmp_path / "data")
    store = RunStore(tmp_path)
    assert store.key(PlannedRun(place, "mclrec", recipe="mclrec-best")) == store.key(
        PlannedRun(place, "mclrec", recipe="auto")
    )


def test_a_section_inherits_key_by_key() -> None:
    recipe = resolve("sasrec", "beauty", "bce")
    config: Any = recipe.config
    assert (config.unit, config.loss, config.positions) == ("sequences", "bce", "newest")
    assert (recipe.training.metric, recipe.training.seen) == ("ndcg@20", "drop")
    assert recipe.training.batch_size == resolve("sasrec", "none").training.batch_size


def test_a_model_without_recipes_has_its_defaults(plain: str) -> None:
    recipe = resolve(plain, "beauty")
    assert section_names(plain) == ["default"]
    assert (recipe.section, recipe.config, recipe.training) == ("default", PlainConfig(), TrainingConfig())
    assert recipe.source


def test_overrides_go_to_the_configuration_that_has_the_key(plain: str) -> None:
    changes = {"lambda": "0.25", "epochs": "3", "gamma": 1}
    recipe = resolve(plain, "x", overrides=changes)
    assert recipe.config == PlainConfig.model_validate({"lambda": 0.25, "gamma": 1})
    assert recipe.training == TrainingConfig(epochs=3)
    assert resolve(plain, "x", overrides={"lambda_": 0.25}).config == PlainConfig.model_validate(
        {"lambda": 0.25}
    )


def test_a_file_lies_between_the_default_section_and_the_overrides(tmp_path: Path) -> None:
    file = write(tmp_path, "source = 'mine'\n[model]\nlambda = 0.7\nbeta = 0.2\n[training]\nepochs = 4\n")
    recipe = resolve("mclrec", "beauty", file, {"beta": 0.3})
    config: Any = recipe.config
    assert (config.lambda_, config.beta, recipe.training.epochs) == (0.7, 0.3, 4)
    assert (recipe.source, recipe.section) == ("mine", str(file))
    assert resolve("mclrec", "beauty", str(file), {"beta": 0.3}) == recipe
    empty = resolve("mclrec", "beauty", write(tmp_path, ""))
    assert empty.config == resolve("mclrec", "beauty", "default").config


def test_unknown_names_suggest_the_nearest(plain: str, tmp_path: Path) -> None:
    fails("did you mean 'mclrec'", "mclerc", "beauty")
    fails("did you mean 'bce'", "sasrec", "beauty", "bec")
    fails("did you mean 'lambda'", plain, "x", None, {"lamda": 1})
    fails("did you mean 'learning_rate'", plain, "x", None, {"lerning_rate": 1})
    fails(
        "mine.toml.model: unknown key 'hiden_size'; did you mean 'hidden_size'",
        plain,
        "x",
        write(tmp_path, "[model]\nhiden_size=1"),
    )
    fails(
        "mine.toml: unknown key 'modle'; did you mean 'model'",
        plain,
        "x",
        write(tmp_path, "[modle]\nwidth=1"),
    )


def test_a_bad_value_names_key_value_and_what_is_allowed(plain: str, tmp_path: Path) -> None:
    fails("lambda = -1: should be greater than or equal to 0", plain, "x", None, {"lambda": -1})
    fails("hidden_size = 'wide': should be a valid integer", plain, "x", None, {"hidden_size": "wide"})
    fails(
        "epochs = 0: should be greater than or equal to 1 (and 1 more)",
        plain,
        "x",
        None,
        {"epochs": 0, "patience": 0},
    )
    fails("seen = 'maybe': should be 'keep' or 'drop'", plain, "x", None, {"seen": "maybe"})
    fails("did you mean 'ndcg'", plain, "x", None, {"metric": "ndgc@20"})
    fails("learning_rate = 'nan': should be a finite number", plain, "x", None, {"learning_rate": "nan"})
    file = write(tmp_path, "[model]\nhidden_size = 0\n")
    fails(f"{file}.model: hidden_size = 0: should be", plain, "x", file)
    with pytest.raises(ConfigError, match=r"^hidden_size = -1: should be"):
        resolve(plain, "x", file, {"hidden_size": -1})


def test_earlier_names_of_settings_are_known() -> None:
    for old, new in {"width": "hidden_size", "longest": "max_length", "inner": "inner_size"}.items():
        fails(f"unknown setting of mclrec '{old}': it is now called {new}", "mclrec", None, None, {old: 8})


def test_a_model_that_only_counts_takes_no_settings_of_training(tmp_path: Path) -> None:
    message = "epochs has no effect: popularity only counts and is not trained; leave it out"
    fails(message, "popularity", None, None, {"epochs": 3})
    file = write(tmp_path, "[training]\nepochs = 3\n")
    fails(f"{file}.training: {message}", "popularity", None, file)
    assert resolve("popularity", None, None, {"seen": "drop"}).training.seen == "drop"
    assert resolve("popularity", None, None, {"validation_targets": 9}).training.validation_targets == 9


ADDED = [
    (model, added)
    for model in registry.names()
    for added in ({}, {"repeat_bias": True}, {"co_occurrence": 2.0})
    if added.keys() <= setting_keys(model).keys()
]


@pytest.mark.parametrize(("model", "added"), ADDED)
def test_validation_chooses_what_is_added_to_scores_if_something_is(
    model: str, added: dict[str, Any], tmp_path: Path
) -> None:
    recipe = resolve(model, None, "default", added)
    built = registry.model_class(model)(recipe.config, 9, 5)
    off = {**added, "calibrate_scores": False}
    if built.co_occurrence is not None or built.repeats is not None:
        found = resolve(model, None, "default", off)
        assert not found.training.calibrate_scores
    else:
        fails("calibrate_scores has no effect", model, None, "default", off)
    written = tmp_path / "written.toml"
    write_recipe(written, recipe, "as it is")  # writes all settings, and reads them back


def test_files_that_are_no_recipes(plain: str, tmp_path: Path) -> None:
    fails("gone.toml: no such recipe file", plain, "x", tmp_path / "gone.toml")
    fails("mine.toml:2: not valid TOML", plain, "x", write(tmp_path, "[model]\nwidth 3\n"))
    fails("mine.toml: last line: not valid TOML", plain, "x", write(tmp_path, "[model]\nwidth ="))
    fails("mine.toml: model should be a table", plain, "x", write(tmp_path, "model = 3\n"))
    fails("mine.toml: not valid TOML", plain, "x", write(tmp_path, f"x = {'[' * 5000}"))
    fails("mine.toml: not valid TOML", plain, "x", write(tmp_path, f"[model]\nhidden_size = {'9' * 5000}\n"))
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    fails("mine.toml: cannot be read", plain, "x", tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("k=0.1", 0.1),
        (" k = 3 ", 3),
        ("k=1e-3", 1e-3),
        ("k=true", True),
        ("k=three", "three"),
        ("k='0.1'", "0.1"),
        ("k=.5", ".5"),
        ("k=none", None),
        ("k=a=b", "a=b"),
        ("k=1\nother=2", "1\nother=2"),
    ],
)
def test_settings(text: str, value: object) -> None:
    parsed = parse_setting(text)
    assert parsed == ("k", value)
    assert type(parsed[1]) is type(value)


@pytest.mark.parametrize("key", ["cycle", "average"])
def test_none_is_none_in_python_in_files_and_on_the_command_line(key: str, tmp_path: Path) -> None:
    """None overrides the value of a recipe: TOML has no null, so it is written as the string "none"."""
    path = tmp_path / "mine.toml"
    path.write_text(f"[training]\n{key} = 3\n", encoding="utf-8")
    assert getattr(resolve("sasrec", None, path).training, key) == 3
    for changes in ({key: None}, {key: "none"}, dict([parse_setting(f"{key}=none")])):
        assert getattr(resolve("sasrec", None, path, overrides=changes).training, key) is None
    path.write_text(f"[training]\n{key} = 'none'\n", encoding="utf-8")
    assert getattr(resolve("sasrec", None, path).training, key) is None
    with pytest.raises(ConfigError, match="cycle"):
        resolve("sasrec", None, overrides={"cycle": "nothing"})


@pytest.mark.parametrize("text", ["beta", "", "=1", "beta=", "beta0.1"])
def test_settings_need_key_and_value(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        parse_setting(text)


@given(st.floats(0, 1e6, allow_nan=False), st.integers(1, 10**6))
def test_what_is_written_as_a_setting_is_what_runs(weight: float, epochs: int) -> None:
    settings = dict(map(parse_setting, [f"beta={weight}", f"epochs={epochs}"]))
    recipe: Recipe = resolve("mclrec", "beauty", overrides=settings)
    config: Any = recipe.config
    assert (config.beta, recipe.training.epochs) == (weight, epochs)
