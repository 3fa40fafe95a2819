"""The recipe `auto`: which data it applies to, and what its rules choose from the data's sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import tiny_data, write_log

import mclrec
from mclrec.data.examples import windows
from mclrec.data.loading import load
from mclrec.data.split import leave_one_out
from mclrec.errors import ConfigError
from mclrec.models import registry
from mclrec.recipes import resolve, section_names
from mclrec.recipes.auto import AUTO, DataSizes, batch_size, choose
from mclrec.recipes.space import search_space, value_of
from mclrec.runs.recipe_choice import possible_recipes, recipe_for
from mclrec.training.config import TrainingConfig

ML_100K = DataSizes(users=943, items=1349, longest=646, windows=2412, interactions=97_401, returns=0.0)
BEAUTY = DataSizes(users=22363, items=12101, longest=202, windows=22512, interactions=153_776, returns=0.0)

WITH_AUTO = [name for name in registry.names() if AUTO in section_names(name)]


def settings(sizes: DataSizes) -> dict[str, Any]:
    recipe = resolve("mclrec", None, AUTO, sizes=sizes)
    return {**recipe.config.model_dump(by_alias=True), **recipe.training.model_dump()}


def test_a_small_log() -> None:
    found = settings(ML_100K)
    wanted = {"unit": "windows", "max_length": 50, "batch_size": 128, "loss": "softmax", "seen": "drop"}
    assert {key: found[key] for key in wanted} == wanted
    assert (found["stopping"], found["patience"]) == ("plateau", 7)  # 133 steps


def test_short_epochs_have_one_cycle_of_the_rate() -> None:
    found = settings(ML_100K)
    assert (found["epochs"], found["cycle"], found["learning_rate"]) == (28, "whole", 1.6e-2)
    assert (settings(BEAUTY)["epochs"], settings(BEAUTY)["cycle"]) == (200, None)
    asked = resolve("sasrec", None, AUTO, {"epochs": 50}, ML_100K).training
    assert (asked.epochs, asked.cycle, asked.learning_rate) == (50, "whole", 1.6e-2)
    assert resolve("sasrec", None, AUTO, sizes=ML_100K).training.epochs == 56
    assert resolve("mclrec", None, AUTO, {"updates": "two"}, ML_100K).training.epochs == 56
    for model in WITH_AUTO:  # each setting is reported once
        told = [key for one in resolve(model, None, AUTO, sizes=ML_100K).choices for key in one.settings]
        assert len(told) == len(set(told))


@pytest.mark.parametrize("sizes", [ML_100K, BEAUTY])
def test_models_differ_in_their_contrast_alone(sizes: DataSizes) -> None:
    assert set(WITH_AUTO) == {"mclrec", "sasrec", "cl4srec", "duorec"}
    alone = resolve("sasrec", None, AUTO, sizes=sizes)
    for model in ("cl4srec", "duorec"):
        other = resolve(model, None, AUTO, sizes=sizes)
        assert other.training == alone.training
        mine, its = (one.config.model_dump(by_alias=True) for one in (alone, other))
        assert {key: its[key] for key in mine} == mine
        further = its.keys() - mine.keys() - {"encoder"}
        assert all(any(word in key for word in ("contrast", "lambda", "gamma", "ratio")) for key in further)


def test_steps_of_an_epoch_are_told() -> None:
    reasons = {key: choice.reason for choice in choose(ML_100K, ["batch_size"]) for key in choice.settings}
    assert reasons == {"batch_size": "19 steps per epoch of 2,412 windows"}
    short = DataSizes(200_000, 5000, 20, 200_000, 10**6, 0.0)
    assert [choice.reason for choice in choose(short, ["batch_size"])] == [
        "782 steps per epoch of 200,000 users"
    ]


def test_returns_decide_the_protocol_of_validation() -> None:
    for share, seen in ((None, "drop"), (0.02, "drop"), (0.4, "keep")):
        assert settings(DataSizes(943, 1349, 646, 2412, 97_401, share))["seen"] == seen


def test_items_that_are_seen_often_have_less_dropout() -> None:
    for sizes, rate in ((ML_100K, 0.3), (BEAUTY, 0.5)):
        assert settings(sizes)["dropout"] == rate


def test_attention_over_many_items_needs_little_dropout() -> None:
    for sizes, rate in ((ML_100K, 0.2), (BEAUTY, 0.5)):
        assert settings(sizes)["attention_dropout"] == rate


def test_many_short_histories_have_a_filter_beside_attention() -> None:
    few = replace(BEAUTY, users=5_000, windows=5_000, interactions=40_000)
    long = replace(BEAUTY, interactions=900_000)
    for sizes, alpha in ((BEAUTY, 0.7), (few, 0.0), (long, 0.0), (ML_100K, 0.0)):
        assert settings(sizes)["alpha"] == alpha
    recipe = resolve("mclrec", None, AUTO, {"encoder": "gru"}, BEAUTY)  # without attention
    assert {"alpha", "attention_dropout"}.isdisjoint(key for one in recipe.choices for key in one.settings)


def test_long_epochs_have_two_updates_a_batch() -> None:
    for sizes, updates, rate in ((ML_100K, "three", 1.6e-2), (BEAUTY, "two", 6e-3)):
        found = settings(sizes)
        assert (found["updates"], found["learning_rate"]) == (updates, rate)
    assert resolve("sasrec", None, AUTO, sizes=BEAUTY).training.learning_rate == 6e-3
    assert resolve("mclrec", None, AUTO, {"updates": "three"}, BEAUTY).training.learning_rate == 4e-3


@given(
    st.sampled_from(WITH_AUTO),
    st.builds(
        DataSizes,
        users=st.integers(1, 10**6),
        items=st.integers(1, 10**6),
        longest=st.integers(1, 500),
        windows=st.integers(1, 10**6),
        interactions=st.integers(1, 10**8),
        returns=st.sampled_from([0.0, 0.09, 0.5]),
    ),
)
def test_asking_for_what_the_rules_choose_changes_nothing(model: str, sizes: DataSizes) -> None:
    chosen = resolve(model, None, AUTO, sizes=sizes)
    for choice in chosen.choices:
        for key, value in choice.settings.items():
            asked = resolve(model, None, AUTO, {key: value}, sizes)
            assert (asked.config, asked.training) == (chosen.config, chosen.training), key


def test_co_occurrence_where_all_is_compared_and_hardly_anybody_returns() -> None:
    assert settings(ML_100K)["co_occurrence"] == 4.0
    assert not settings(DataSizes(200_000, 60_000, 300, 400_000, 9_000_000, 0.0))["co_occurrence"]
    assert not settings(DataSizes(943, 1349, 646, 2412, 97_401, 0.4))["co_occurrence"]


def test_a_large_catalogue_has_a_sampled_softmax() -> None:
    found = settings(DataSizes(200_000, 1_000_000, 300, 400_000, 9_000_000, 0.0))
    assert found["loss"] == "sampled"
    assert found["patience"] == 7


SIZES = st.builds(
    lambda users, items, longest, pieces, returns: DataSizes(
        users, items, longest, users * pieces, 9 * users, returns
    ),
    st.integers(1, 10**7),
    st.integers(1, 10**7),
    st.integers(0, 10**6),
    st.integers(1, 9),
    st.none() | st.floats(0, 1),
)


@given(SIZES)
def test_any_sizes_give_a_recipe(sizes: DataSizes) -> None:
    for model in WITH_AUTO:
        recipe = resolve(model, None, AUTO, sizes=sizes)
        assert all(choice.reason for choice in recipe.choices)
        steps = -(-sizes.windows // recipe.training.batch_size)
        assert recipe.training.patience * steps >= 100
        assert recipe.training.epochs * steps >= min(400, 200 * steps)
        assert recipe.training.epochs <= 200
    assert 16 <= batch_size(sizes.users) <= 1024


def all_settings(model: str) -> dict[str, Any]:
    """Default values of all settings of a model and its training."""
    kinds = (registry.model_class(model).config_type, TrainingConfig)
    fields = {info.alias or key: info for kind in kinds for key, info in kind.model_fields.items()}
    return {key: info.get_default() for key, info in fields.items()}


@given(SIZES, st.data())
def test_what_a_log_takes_is_not_refused_before_it_is_read(sizes: DataSizes, data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(WITH_AUTO))
    every = all_settings(model)
    asked = {key: every[key] for key in data.draw(st.lists(st.sampled_from(sorted(every)), max_size=3))}
    try:
        resolve(model, None, AUTO, asked, sizes)
    except ConfigError:
        return
    for recipe in (AUTO, None):
        assert possible_recipes(model, "log.csv", recipe, asked)


@given(SIZES)
def test_a_search_holds_what_auto_chooses(sizes: DataSizes) -> None:
    for model in WITH_AUTO:
        base = resolve(model, None, AUTO, sizes=sizes)
        space = search_space(model, None, AUTO, sizes=sizes)  # refuses a recipe value outside
        assert {key for key, dimension in space.items() if dimension.holds(value_of(base, key))} == set(space)


@pytest.mark.parametrize("key", ["samples", "sample_power", "frequencies"])
def test_settings_that_only_some_logs_take(key: str) -> None:
    value = all_settings("sasrec")[key]
    taken = [recipe.config for recipe in possible_recipes("sasrec", "log.csv", AUTO, {key: value})]
    assert taken
    with pytest.raises(ConfigError, match=f"{key} has no effect"):
        resolve("sasrec", None, AUTO, {key: value}, ML_100K)


def test_what_the_user_chose_goes_first() -> None:
    recipe = resolve("mclrec", None, AUTO, {"batch_size": 32, "max_length": 20}, ML_100K)
    assert (recipe.training.batch_size, getattr(recipe.config, "max_length", 0)) == (32, 20)
    chosen = {key for choice in recipe.choices for key in choice.settings}
    assert chosen.isdisjoint({"batch_size", "max_length"})
    assert resolve("mclrec", None, AUTO, {"unit": "prefixes"}, ML_100K).training.patience == 7


def test_settings_that_a_model_lacks_are_not_chosen() -> None:
    assert [choice.settings for choice in choose(ML_100K, ["batch_size"])] == [{"batch_size": 128}]


def test_windows_are_the_examples_of_an_epoch() -> None:
    split = leave_one_out(tiny_data(users=30, longest=200))
    assert DataSizes.of(split, None).windows == len(windows(split.training, 50))


def test_a_log_has_it_and_a_named_data_set_its_own_section(tmp_path: Path) -> None:
    named = load("complete-journey")
    assert recipe_for("mclrec", named, DataSizes.of(leave_one_out(named), None)).section == "complete-journey"
    data = load(write_log(tmp_path / "log.csv", tiny_data()), min_count=1)
    assert recipe_for("mclrec", data, DataSizes.of(leave_one_out(data), None)).section == AUTO
    assert recipe_for("bpr", data, DataSizes.of(leave_one_out(data), None)).section == "default"


def test_a_run_says_what_was_chosen_and_how_long_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tiny_data(users=60)
    run = mclrec.train(
        data, out=tmp_path / "run", epochs=1, hidden_size=8, inner_size=16, contrast_by="history"
    )
    told = capsys.readouterr().err
    assert "recipe auto: " in told
    assert "max_length = 10: the longest training history has 10 items" in told
    assert "batch_size = 16: " in told
    assert "time: about " in told
    assert run.info.recipe.section == AUTO
    assert run.info.training["stopping"] == "plateau"


@pytest.mark.parametrize("page", ["README.md", "docs/auto.md"])
def test_the_pages_show_what_the_rules_say_of_movielens(page: str) -> None:
    sizes = replace(ML_100K, windows=2398)
    recipe = resolve("mclrec", None, AUTO, sizes=sizes)
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    said = [f"recipe auto: {recipe.source}"]
    for choice in recipe.choices:
        chosen = ", ".join(f"{key} = {value}" for key, value in choice.settings.items())
        said.append(f"  {chosen}: {choice.reason}")
    assert "\n".join(said) in text
