"""The functions that the walkthrough names exist."""

from __future__ import annotations

import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "walkthrough.md"
TEXT = PAGE.read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`((?:[a-z_]+\.)+[A-Za-z_.]+)`", TEXT)) - {"log.csv"})


def found(name: str) -> object:
    """The module, class, function or attribute of a dotted name below ``mclrec``."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            module = import_module(".".join(["mclrec", *parts[:length]]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[length:], module)
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_page_exists(name: str) -> None:
    if name.endswith("ModelStore.current"):  # set by its constructor
        name = name.removesuffix(".current")
    assert found(name) is not None


def test_each_path_has_ten_steps_at_most_and_each_names_a_function() -> None:
    paths = TEXT.split("\n## ")[1:]
    assert len(paths) == 2
    for path in paths:
        steps = re.split(r"\n\d+\. ", path)[1:]
        assert 1 < len(steps) <= 10
        assert all(any(f"`{name}`" in step for name in NAMES) for step in steps)
