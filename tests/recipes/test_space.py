"""Search spaces: read from recipes and checked against the settings themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from mclrec.errors import ConfigError
from mclrec.models import registry
from mclrec.recipes import resolve, section_names, write_recipe
from mclrec.recipes.space import Choices, Range, search_space, value_of

TRAINED = [name for name in registry.names() if registry.entry(name).regimes]


def space_of(tmp_path: Path, text: str, **overrides: object) -> dict[str, Range | Choices]:
    path = tmp_path / "own.toml"
    path.write_text(f"[search]\n{text}\n", encoding="utf-8")
    return search_space("mclrec", "", path, overrides)


@pytest.mark.parametrize("model", TRAINED)
def test_every_section_has_a_space_that_holds_its_recipe(model: str) -> None:
    for section in section_names(model):
        space = search_space(model, "", section)
        assert "learning_rate" in space
        assert len(space) > 1


def test_kinds_of_dimensions(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        "beta = { low = 1e-3, high = 1.0, log = true }\ndropout = { low = 0.1, high = 0.7, step = 0.2 }\n"
        'batch_size = { low = 16, high = 256 }\nunit = ["prefixes", "sequences"]\nlambda_ = { low = 0, high = 1 }',
    )
    assert space == {
        "beta": Range(1e-3, 1.0, log=True),
        "dropout": Range(0.1, 0.7, step=0.2),
        "batch_size": Range(16, 256, whole=True),
        "unit": Choices(("prefixes", "sequences")),
        "lambda": Range(0.0, 1.0),
    }
    assert [space["dropout"].holds(value) for value in (0.1, 0.3, 0.5, 0.4, 0.9, True, "0.1")] == [
        True
    ] * 3 + [False] * 4
    assert [space["batch_size"].holds(value) for value in (16, 17, 17.5, 300)] == [True, True, False, False]


def test_none_can_be_searched(tmp_path: Path) -> None:
    space = space_of(tmp_path, 'average = ["none", 2.0]')
    assert space == {"average": Choices(("none", 2.0))}
    base = resolve("mclrec", "", tmp_path / "own.toml", {"average": None})
    assert value_of(base, "average") == "none"
    assert resolve("mclrec", "", tmp_path / "own.toml", {"average": "none"}).training == base.training


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bta = [1.0, 2.0]", r"own.toml.search: unknown setting 'bta'; did you mean 'beta'\?"),
        (
            "beta = { low = 0.1, hihg = 1.0 }",
            r"own.toml.search: beta: unknown key 'hihg'; did you mean 'high'\?",
        ),
        ("beta = { low = 0.1 }", "beta: has no high"),
        ("beta = { low = 1.0, high = 0.1 }", r"low = 1.0 should be less than high = 0.1"),
        ("beta = { low = 0.0, high = 1.0, log = true }", "begins above 0 and has no step"),
        ("beta = { low = 0.1, high = 1.0, log = true, step = 0.1 }", "begins above 0 and has no step"),
        ("beta = { low = 0.1, high = 1.0, log = 1 }", "log should be true or false"),
        ("beta = { low = 0.1, high = 1.0, step = 2.0 }", r"step = 2.0 should be above 0 and fit"),
        ("beta = { low = '0.1', high = 1.0 }", r"low = '0.1' should be a number"),
        ("batch_size = { low = 1.5, high = 9 }", r"low = 1.5 should be a whole number"),
        ("unit = { low = 1, high = 2 }", "unit is not a number: list its values instead"),
        ("beta = 0.1", "should be a range, as"),
        ("beta = [0.1]", "should list two or more different values"),
        ("beta = [0.1, 0.2, 0.1]", "two or more different values"),
        (
            "dropout = { low = 0.1, high = 1.5 }",
            r"own.toml.search: dropout: dropout = 1.5: should be less than",
        ),
        (
            'unit = ["prefixes", "prefix"]',
            "unit: unit = 'prefix': should be 'prefixes', 'sequences' or 'windows'",
        ),
        (
            'metric = ["hr@10", "ndcg@10"]',
            "metric determines how trials are measured, and must be the same for all",
        ),
        (
            'encoder = ["transformer", "gru"]\nheads = [1, 2]',
            "heads has no effect with encoder = gru: search one of the two, and fix the other with --set",
        ),
        (
            'loss = ["softmax", "gbce"]\nnegatives = [64, 256]',
            "negatives has no effect with loss = softmax: search one of the two",
        ),
        (
            "beta = { low = 0.0, high = 1.0 }\naugmenter_learning_rate = { low = 1e-4, high = 1e-2 }",
            "augmenter_learning_rate has no effect with beta = 0.0",
        ),
        (
            "beta = { low = 0.5, high = 1.0 }",
            r"beta is 0.1 in the recipe, which is not in 0.5 to 1: widen it, or fix",
        ),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        space_of(tmp_path, text)


def test_what_is_fixed_is_not_searched(tmp_path: Path) -> None:
    text = "beta = { low = 0.5, high = 1.0 }\nlambda = { low = 0.0, high = 1.0 }"
    assert set(space_of(tmp_path, text, beta=0.0)) == {"lambda"}
    with pytest.raises(ConfigError, match="nothing is left to search"):
        space_of(tmp_path, text, beta=0.0, lambda_=0.1)


def test_a_model_without_epochs_has_no_space() -> None:
    with pytest.raises(ConfigError, match=r"markov: only counts, and its recipe has no \[search\]"):
        search_space("markov", "")


def test_a_written_recipe_is_read_as_it_was(tmp_path: Path) -> None:
    for model in TRAINED:
        recipe = resolve(model, "complete-journey", None, {"learning_rate": 1.25e-5})
        write_recipe(tmp_path / "best.toml", recipe, 'a "quoted" source, ä')
        read = resolve(model, "anything", tmp_path / "best.toml")
        assert (read.config, read.training, read.source) == (
            recipe.config,
            recipe.training,
            'a "quoted" source, ä',
        )
