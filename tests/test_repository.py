"""The files around the code agree with it: import rules, pinned versions, make targets."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mclrec.data.backends import OLDEST
from mclrec.models import registry
from scripts import lowest

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
OURS = {registry.entry(name).location.partition(":")[0] for name in registry.names()}


def contract(name: str) -> dict[str, Any]:
    [found] = [rule for rule in PROJECT["tool"]["importlinter"]["contracts"] if rule["name"] == name]
    return dict(found)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ("Models do not know each other", "modules"),
        ("Training and evaluation know no model", "forbidden_modules"),
    ],
)
def test_import_rules_name_every_model(rule: str, key: str) -> None:
    assert OURS - set(contract(rule)[key]) == set()


def test_everything_required_is_pinned_within_its_bounds() -> None:
    required = [*PROJECT["project"]["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    for requirement in map(Requirement, required):
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)]), requirement


def test_engines_have_the_lower_bounds_that_are_tested() -> None:
    tested = {one.name: one.specifier for one in map(Requirement, EXTRAS["test"])}
    assert {name: str(tested[name]) for name in OLDEST} == {
        name: f">={least}" for name, least in OLDEST.items()
    }


def test_lower_bounds_are_tested_by_files_and_extras_that_exist() -> None:
    assert [name for name in lowest.TESTS if not (ROOT / name).is_file()] == []
    assert set(lowest.EXTRAS) <= set(EXTRAS)


def test_pins_are_sorted_and_public_versions() -> None:
    assert list(pins()) == sorted(pins())
    assert [version for version in pins().values() if "+" in version] == []


def test_make_installs_extras_that_exist() -> None:
    lines = re.findall(r"^EXTRAS_\w+ := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert lines
    assert {extra for line in lines for extra in line.split(",")} <= set(EXTRAS)


def test_make_and_the_pages_name_files_that_exist() -> None:
    pages = [
        ROOT / "Makefile",
        ROOT / ".ci" / "run",
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ]
    for page in pages:
        named = re.findall(r"\b(?:tests|scripts|benchmarks)/[\w/]+\.py", page.read_text(encoding="utf-8"))
        assert [name for name in named if not (ROOT / name).exists()] == [], page
