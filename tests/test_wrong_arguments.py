"""Arguments of a wrong type in Python are refused with a one-line error, whatever they are."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import tiny_data

import mclrec
from mclrec.errors import MclrecError

DATA = tiny_data()
ODD = [3.5, object(), ["a"], {"a": 1}, b"x"]
CASES = [
    (door, name)
    for door in ("train", "tune")
    for name, one in inspect.signature(getattr(mclrec, door)).parameters.items()
    if one.kind is not one.VAR_KEYWORD
]


@pytest.mark.parametrize(("door", "name"), CASES)
def test_an_argument_of_a_wrong_type_is_refused(
    door: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for odd in ODD:
        # The recipe does not exist: an odd value that is not refused itself is refused for the recipe.
        given: dict[str, Any] = {"data": DATA, "model": "popularity", "recipe": "nope", name: odd}
        with pytest.raises(MclrecError) as caught:
            getattr(mclrec, door)(**given)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
