"""Candidates of a search within minutes are few and distinct, and none changes what the user fixed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mclrec.errors import ConfigError
from mclrec.recipes import resolve
from mclrec.recipes.auto import AUTO, DataSizes
from mclrec.search.candidates import MOST, candidate_settings

SIZES = DataSizes(users=943, items=1349, longest=646, windows=2412, interactions=96000, returns=0.0)


def found(
    model: str, recipe: str | Path | None = AUTO, sizes: DataSizes = SIZES, **settings: Any
) -> list[Any]:
    base = resolve(model, None, recipe, settings, sizes)
    candidates = [{}, *candidate_settings(base, None, recipe, settings, sizes)]
    configs = [resolve(model, None, recipe, {**settings, **one}, sizes) for one in candidates]
    assert len({(repr(one.config), repr(one.training)) for one in configs}) == len(candidates) <= MOST
    assert all(one.training.metric == base.training.metric for one in configs)
    return candidates


@pytest.mark.parametrize(
    ("model", "weight"),
    [("mclrec", "beta"), ("sasrec", None), ("cl4srec", "lambda"), ("duorec", "lambda_supervised")],
)
def test_candidates_differ_in_one_thing(model: str, weight: str | None) -> None:
    others = found(model)[1:]
    assert len(others) == MOST - 1
    assert {"max_length": 100} in others
    assert {key for one in others for key in one if key in ("beta", "lambda", "lambda_supervised")} == (
        {weight} if weight else set()
    )


def test_what_the_user_fixed_is_not_varied() -> None:
    for one in found("mclrec", dropout=0.4, lambda_=0.1, beta=0.2):
        assert one.keys().isdisjoint({"dropout", "beta", "lambda", "lambda_"})


def test_short_histories_need_no_longer_model() -> None:
    assert not any(
        "max_length" in one for one in found("mclrec", sizes=DataSizes(900, 500, 40, 900, 9000, 0.0))
    )


def test_a_recipe_of_ones_own_has_its_own_space(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        "[model]\ndropout = 0.5\n[search]\ndropout = { low = 0.1, high = 0.6, step = 0.1 }\n"
        "learning_rate = { low = 1e-4, high = 1e-1, log = true }\nlayers = { low = 1, high = 3, step = 1 }\n"
        "batch_size = [64, 256]\n",
        encoding="utf-8",
    )
    assert found("sasrec", path) == [
        {},
        {"dropout": 0.3},
        {"learning_rate": 0.000333},
        {"layers": 1},
        {"batch_size": 64},
        {"dropout": 0.6},
        {"learning_rate": 0.003},
        {"layers": 3},
    ]


@pytest.mark.parametrize("interactions", [9_000, 96_000])
def test_no_candidate_is_the_recipe_again(interactions: int) -> None:
    sizes = DataSizes(943, 1349, 646, 2412, interactions, 0.0)
    base = resolve("sasrec", None, AUTO, {}, sizes)
    decided = replace(
        base, training=base.training.on(torch.device("cpu"))
    )  # replaces precision "auto" with a concrete one
    candidates = candidate_settings(decided, None, AUTO, {}, sizes)
    own = {"attention_dropout": 0.2}
    assert (own in candidates) == (interactions == 9_000)


@pytest.mark.parametrize(("users", "other"), [(943, 0.7), (22_000, 0.0)])
def test_what_decides_about_the_filter_is_asked(users: int, other: float) -> None:
    sizes = DataSizes(users, 1349, 646, users, 6 * users, 0.0)
    for settings, asked in (({}, True), ({"encoder": "gru"}, False)):
        base = resolve("mclrec", None, AUTO, settings, sizes)
        assert ({"alpha": other} in candidate_settings(base, None, AUTO, settings, sizes)) == asked


@pytest.mark.parametrize("model", ["bpr", "gru4rec", "bert4rec", "caser", "cl4srec"])
def test_every_model_has_some(model: str) -> None:
    assert len(found(model, None)) >= 2


def test_a_model_that_counts_has_none() -> None:
    with pytest.raises(ConfigError, match="only counts"):
        found("markov", None)


@pytest.mark.parametrize("model", ["mclrec", "sasrec"])
def test_further_candidates_are_around_the_best_and_none_comes_twice(model: str) -> None:
    base = resolve(model, None, AUTO, {}, SIZES)
    tried: list[dict[str, Any]] = [{}]
    best: dict[str, Any] = {}
    while new := candidate_settings(base, None, AUTO, {}, SIZES, tried, best):
        assert all(best.items() <= {**one, **best}.items() and len(one) > 0 for one in new)
        assert all(one not in tried for one in new)
        tried += new
        if "learning_rate" not in best:
            best = next((one for one in new if "learning_rate" in one), best)
            assert all(one["learning_rate"] < base.training.learning_rate for one in (best,) if one)
        else:  # the best no longer changes: only untried neighbours remain
            assert all("learning_rate" in one for one in new)
    assert len(tried) > MOST
    recipes = [resolve(model, None, AUTO, one, SIZES) for one in tried]
    assert len({(repr(one.config), repr(one.training)) for one in recipes}) == len(tried)
