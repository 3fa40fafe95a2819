"""Settings given to several models: which models take them, which lack them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mclrec.errors import ConfigError
from mclrec.models import registry
from mclrec.recipes import resolve, setting_keys
from mclrec.recipes.shared_settings import check_known, check_taken, combine_settings, told_settings
from mclrec.recipes.training_settings import training_keys
from mclrec.training.config import TrainingConfig

MODELS = registry.names()
KEYS = sorted({key for model in MODELS for key in setting_keys(model).values()})


def settings_of(model: str) -> dict[str, Any]:
    """All settings of a model and of its training in its default recipe."""
    recipe = resolve(model, None)
    return {**recipe.training.model_dump(by_alias=True), **recipe.config.model_dump(by_alias=True)}


def has(model: str, key: str) -> bool:
    """Whether a model has a setting that `mclrec train` accepts."""
    try:
        resolve(model, None, None, {key: settings_of(model).get(key)})
    except ConfigError as problem:
        return "unknown setting" not in str(problem) and "only counts" not in str(problem)
    return True


@given(st.lists(st.sampled_from(MODELS), min_size=1, max_size=5, unique=True), st.sampled_from(KEYS))
def test_each_model_takes_a_setting_that_it_has_and_the_others_are_named(models: list[str], key: str) -> None:
    having = [model for model in models if has(model, key)]
    if not having:
        with pytest.raises(ConfigError, match=r"unknown setting|only count"):
            check_known(models, {key: 1})
        return
    values = [value for model in having if (value := settings_of(model).get(key)) is not None]
    if not values:  # without effect in the recipes, or None
        return
    shared = {key: values[0]}
    try:
        runs = [(model, combine_settings(model, None, None, {}, shared)) for model in models]
    except ConfigError as problem:  # a value from one model that another refuses
        assert str(problem).partition(":")[0] in having  # noqa: PT017
        return
    assert all(taken in ({}, shared) for _, taken in runs)
    takers = [model for model, taken in runs if taken]
    assert set(takers) <= set(having)
    if not takers:
        with pytest.raises(ConfigError, match=f"{key} has no effect on"):
            check_taken(shared, runs)
        return
    check_taken(shared, runs)
    lines = told_settings(shared, runs)
    assert len(lines) == (len(takers) < len(models))
    for line in lines:
        assert line.startswith(f"{key} = {values[0]}: taken by {', '.join(takers)}")
        assert all(model in line for model in models)
        without = [model for model in models if model not in having]
        assert not without or line.endswith(
            f"{', '.join(without)} {'do' + 'es' * (len(without) == 1)} not have it"
        )


@pytest.mark.parametrize("models", [("popularity",), ("popularity", "markov", "sasrec"), tuple(MODELS)])
def test_what_no_model_has_is_refused_with_the_nearest_name(models: tuple[str, ...]) -> None:
    near = "metrc", "metric"
    with pytest.raises(ConfigError, match=f"unknown setting of .*'{near[0]}'; did you mean '{near[1]}'"):
        check_known(models, {near[0]: 1})
    if len(models) > 1:
        with pytest.raises(ConfigError, match="'width': it is now called hidden_size"):
            check_known(models, {"width": 1})


def test_a_wrong_value_is_refused_with_the_model_that_refuses_it() -> None:
    assert combine_settings("markov", None, None, {}, {"hidden_size": "wide"}) == {}
    with pytest.raises(ConfigError, match="sasrec: hidden_size = 'wide'"):
        combine_settings("sasrec", None, None, {}, {"hidden_size": "wide"})


def test_settings_of_many_runs_are_left_out_where_a_run_has_no_use_for_them() -> None:
    """A setting is also left out where a run sets it itself; one that no run could use is refused."""
    shared = {"crop_ratio": 0.3, "epochs": 2, "lambda_": 0.0}
    every = combine_settings("mclrec", "beauty", None, {"beta": 0.5, "lambda": 0.2}, shared)
    assert every == {"beta": 0.5, "lambda": 0.2, "crop_ratio": 0.3, "epochs": 2}
    without = combine_settings("mclrec", "beauty", None, {"beta": 0}, shared)
    assert without == {"beta": 0, "lambda": 0.0, "epochs": 2}
    lines = told_settings(shared, [("mclrec", every), ("mclrec", without)])
    assert lines == [
        "crop_ratio = 0.3: taken by mclrec where it has an effect",
        "lambda_ = 0.0: taken by mclrec but not where a row sets it itself",
    ]
    with pytest.raises(ConfigError, match=r"no run would use beta = 0\.1: each sets its own"):
        check_taken({"beta": 0.1}, [("mclrec", every), ("mclrec", without)])
    assert combine_settings("mclrec", "beauty", None, {"encoder": "gru"}, {"heads": 4}) == {"encoder": "gru"}
    useless = [
        (model, combine_settings(model, "beauty", None, {}, {"negatives": 4})) for model in ("mclrec", "ease")
    ]
    with pytest.raises(ConfigError, match="negatives has no effect on mclrec with the other settings"):
        check_taken({"negatives": 4}, useless)


def test_a_model_that_only_counts_takes_of_training_what_its_validation_has() -> None:
    shared = {"epochs": 3, "max_length": 9, "seen": "drop"}
    assert combine_settings("recency", None, None, {}, shared) == {"max_length": 9, "seen": "drop"}
    assert combine_settings("sasrec", None, None, {}, shared) == shared
    for key in TrainingConfig.model_fields.keys() - training_keys("recency"):
        with pytest.raises(ConfigError, match="only count"):
            check_known(["popularity", "recency"], {key: 1})
