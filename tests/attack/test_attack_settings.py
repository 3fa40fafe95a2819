"""Random settings and arguments are accepted or refused in one line; accepted ones train, or the error says why not."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.attack.inputs import Attack
from tests.helpers import tiny_data

import mclrec
from mclrec.errors import MclrecError
from mclrec.models import registry
from mclrec.recipes import Recipe, parse_setting, resolve, setting_keys
from mclrec.runs.construction import build

pytestmark = pytest.mark.attack

DATA = tiny_data(users=12)
MODELS = registry.names()
SMALL = {
    "hidden_size": 8,
    "inner_size": 8,
    "max_length": 6,
    "layers": 1,
    "heads": 2,
    "intents": 3,
    "samples": 8,
}
FEW = {
    "epochs": 1,
    "pretrain_epochs": 1,
    "negatives": 2,
    "targets": 2,
    "further_layers": 2,
    "dropped_layers": 1,
}

VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 64, 100, 10**6, 10**9, 2**31, 2**63, 10**30, 10**5000, -(10**12)),
    *(0.0, 0.5, 1.0, -0.5, 1e-300, 1e300, 1e6, 1e-8, float("inf"), float("-inf"), float("nan"), 2.0, 1.5),
    *(
        True,
        False,
        None,
        np.True_,
        np.int64(3),
        np.int8(-1),
        np.float32(0.5),
        np.float64("nan"),
        np.uint64(2**63),
    ),
    *(
        "",
        "3",
        "0.5",
        "inf",
        "nan",
        "none",
        "gru",
        "softmax",
        "bce",
        "sequences",
        "mlp",
        "x" * 10_000,
        "\x1b[31m",
        "\udcff",
    ),
    *(
        "mrr@10",
        "hr@0",
        "ndcg@" + "9" * 5000,
        "drop",
        "bf16",
        "\0",
        "1e999",
        "relative",
        "pre",
        "off",
        "two",
        "all",
    ),
    *(
        [],
        [1],
        {},
        {"a": [1]},
        (),
        b"3",
        object(),
        np.array([1, 2]),
        np.array(3),
        torch.tensor(1.0),
        Path("x"),
        1j,
    ),
)


def _value(rng: np.random.Generator) -> Any:
    return VALUES[rng.integers(len(VALUES))]


def _settings(rng: np.random.Generator, name: str) -> dict[Any, Any]:
    """Random values for some settings of a model."""
    keys: list[Any] = sorted(setting_keys(name))
    chosen = rng.choice(len(keys), rng.integers(1, 5), replace=False)
    found = {keys[index]: _value(rng) for index in chosen}
    if rng.random() < 0.05:
        found[rng.choice(["width", "", "\x1b", "x" * 1000])] = 1
    return found


def _small(name: str) -> dict[str, Any]:
    keys = setting_keys(name)
    return {key: value for key, value in {**SMALL, **FEW}.items() if key in keys}


def check_refusal(error: MclrecError) -> None:
    text = str(error)
    assert len(text) <= 300
    assert text.count("\n") <= 1
    assert all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.attack(share=2)
def test_settings_are_valid_or_refused(attack: Attack) -> None:
    for rng in attack.inputs():
        name = MODELS[rng.integers(len(MODELS))]
        try:
            recipe = resolve(name, None, None, _settings(rng, name))
        except MclrecError as error:
            check_refusal(error)
            continue
        for config in (recipe.config, recipe.training):
            text = json.dumps(config.model_dump(mode="json"), allow_nan=False)
            assert json.loads(text) == config.model_dump(mode="json")


def test_settings_from_a_command_line_are_what_python_takes(attack: Attack) -> None:
    for rng in attack.inputs():
        name = MODELS[rng.integers(len(MODELS))]
        words = [f"{key}={value}" for key, value in _settings(rng, name).items() if _is_short(value)]
        try:
            resolve(name, None, None, dict(parse_setting(word) for word in words))
        except MclrecError as error:
            check_refusal(error)


def _is_short(value: Any) -> bool:
    return not (isinstance(value, int) and abs(value) > 10**100)


@pytest.mark.attack(share=3)
def test_what_is_taken_trains(attack: Attack, tmp_path: Path) -> None:
    number = 0
    for rng in attack.inputs():
        name, number = MODELS[rng.integers(len(MODELS))], number + 1
        try:
            recipe = _tame(name, _settings(rng, name))
            build(recipe, DATA, 1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                settings = _changes(recipe)
                run = mclrec.train(DATA, name, out=tmp_path / str(number), progress=False, **settings)
        except MclrecError as error:
            check_refusal(error)
        else:
            assert all(np.isfinite(value) for values in run.metrics.values() for value in values.values())


def _tame(name: str, settings: dict[Any, Any]) -> Recipe:
    """The recipe of random settings and small sizes, without settings that would only take long."""
    given = dict(settings)
    for key, most in {
        "epochs": 1,
        "pretrain_epochs": 2,
        "batch_size": 256,
        "hidden_size": 64,
        "layers": 3,
    }.items():
        if type(given.get(key)) is int and given[key] > most:
            del given[key]
    small = {key: value for key, value in _small(name).items() if key not in given}
    for key in list(small):  # a small size may have no effect with the settings that were drawn
        try:
            resolve(name, None, None, {**given, **small})
        except MclrecError as error:
            if str(error).startswith(f"{key} has no effect"):
                del small[key]
    return resolve(name, None, None, {**given, **small})


def _changes(recipe: Recipe) -> dict[str, Any]:
    """The given settings, as keyword arguments of `mclrec.train`."""
    given = {name: getattr(recipe.config, name) for name in recipe.config.model_fields_set}
    in_training = {name: getattr(recipe.training, name) for name in recipe.training.model_fields_set}
    known = setting_keys(recipe.model)
    trained = in_training if registry.entry(recipe.model).regimes else {}
    return {key: value for key, value in {**given, **trained}.items() if key in known}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> mclrec.Model:
    return mclrec.train(DATA, "recency", out=tmp_path_factory.mktemp("run") / "run", progress=False).model


def test_arguments_of_a_model(attack: Attack, model: mclrec.Model) -> None:
    for rng in attack.inputs():
        arguments = {
            name: _value(rng) for name in ("k", "exclude", "allow", "include_seen") if rng.random() < 0.3
        }
        history = _value(rng) if rng.random() < 0.3 else [DATA.item_ids[1], 10**30, "x"]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = model.recommend(history, **arguments)
        except MclrecError as error:
            check_refusal(error)
        else:
            assert len(found) <= int(arguments.get("k", 10))
            assert {item for item, _ in found} <= set(DATA.item_ids)


def test_arguments_of_train(attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "seed",
        "device",
        "split",
        "track",
        "recipe",
        "resume",
        "shard_items",
        "warm_start",
        "out",
        "model",
    )
    for number, rng in enumerate(attack.inputs()):
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        arguments = {name: _value(rng) for name in names if rng.random() < 0.15}
        try:
            mclrec.train(DATA, **{"model": "popularity", "progress": False, **arguments})
        except MclrecError as error:
            check_refusal(error)
