"""Settings in Python: each can be given as a keyword argument without clashing with a function's own arguments."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import mclrec
from mclrec.models import registry
from mclrec.recipes import resolve
from mclrec.training.config import TrainingConfig

DOORS = [
    name
    for name in mclrec.__all__
    if inspect.isfunction(door := getattr(mclrec, name))
    and any(one.kind is one.VAR_KEYWORD for one in inspect.signature(door).parameters.values())
]


def test_the_doors_are_found() -> None:
    assert {"train", "tune", "reproduce"} <= set(DOORS)


@pytest.mark.parametrize("door", DOORS)
def test_no_setting_is_called_as_an_argument(door: str) -> None:
    """Python takes a field's own name; only its alias, such as ``targets`` of Caser, may be another argument's name."""
    taken = inspect.signature(getattr(mclrec, door)).parameters.keys()
    kinds: list[Any] = [
        TrainingConfig,
        *(registry.model_class(name).config_type for name in registry.names()),
    ]
    clashes = {(kind.__name__, name) for kind in kinds for name in kind.model_fields if name in taken}
    assert not clashes


@pytest.mark.parametrize("key", ["targets", "targets_"])
def test_targets_of_caser_by_both_names(key: str) -> None:
    config = resolve("caser", None, None, {key: 7}).config
    assert config.model_dump(by_alias=True)["targets"] == 7
    assert config.of_stored(config.model_dump(mode="json", by_alias=True)) == config
