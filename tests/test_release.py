"""Release files agree: package version, Python versions, definition of done, and citation."""

from __future__ import annotations

import re
import subprocess
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.documented import ROOT

import mclrec
from scripts.distributions import sdist_problems, unpacked, wheel_problems

SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = SETTINGS["project"]
BUILD: dict[str, Any] = SETTINGS["tool"]["hatch"]["build"]["targets"]
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def boxes(text: str) -> list[str]:
    return re.findall(r"^- \[ \] .*(?:\n  .*)*", text, re.MULTILINE)


def test_the_version_is_one() -> None:
    assert PROJECT["version"] == mclrec.__version__ == yaml.safe_load(read("CITATION.cff"))["version"]


def test_a_citation_has_what_its_format_requires() -> None:
    found = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= set(found)
    assert found["license"] == PROJECT["license"]
    assert found["authors"] == PROJECT["authors"]
    [paper] = found["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert "2304.07763" in paper["url"]


def test_the_template_of_a_new_model_is_the_definition_of_done() -> None:
    done = boxes(read("CONTRIBUTING.md"))
    assert len(done) > 5
    assert boxes(read(".github/ISSUE_TEMPLATE/new-model.md")) == done


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_has_a_head_that_a_forge_reads(template: Any) -> None:
    head = yaml.safe_load(template.read_text(encoding="utf-8").split("---\n")[1])
    assert head["name"]
    assert head["about"]


def test_what_a_distribution_lacks_or_should_not_have_is_told() -> None:
    tracked = ["README.md", "src/mclrec/__init__.py", "src/mclrec/py.typed", "tests/test_api.py"]
    whole = ["mclrec/__init__.py", "mclrec/py.typed", "mclrec-0.2.0.dist-info/METADATA"]
    assert wheel_problems(whole, tracked) == []
    assert sdist_problems(["PKG-INFO", *tracked], tracked) == []
    assert wheel_problems(["mclrec/__init__.py", "tests/test_api.py"], tracked) == [
        "the wheel lacks mclrec/py.typed",
        "the wheel has tests/test_api.py, which is not one of our files",
    ]
    assert sdist_problems(["PKG-INFO", *tracked[:-1], "runs/weights"], tracked) == [
        "the sdist lacks tests/test_api.py",
        "the sdist has runs/weights, which is not one of our files",
    ]


def test_an_sdist_has_every_file_and_folder_of_the_repository() -> None:
    listed = {name.strip("/") for name in BUILD["sdist"]["include"]}
    by_itself = {"pyproject.toml", "README.md", "LICENSE", ".gitignore"}
    assert [name for name in listed | by_itself if not (ROOT / name).exists()] == []
    if (ROOT / ".git").exists():
        words = ["git", "ls-files"]
        found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert {name.partition("/")[0] for name in found.splitlines()} == listed | by_itself
    else:
        assert (ROOT / "PKG-INFO").exists()  # an unpacked sdist


def test_an_sdist_unpacks_into_its_folder(tmp_path: Path) -> None:
    (tmp_path / "mclrec-0.2.0").mkdir()
    (tmp_path / "mclrec-0.2.0" / "README.md").touch()
    with tarfile.open(tmp_path / "mclrec-0.2.0.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "mclrec-0.2.0", "mclrec-0.2.0")
    folder = unpacked(tmp_path / "mclrec-0.2.0.tar.gz", tmp_path / "there")
    assert [path.name for path in folder.iterdir()] == ["README.md"]


def test_versions_of_python_are_the_same_everywhere() -> None:
    versions = [line.split()[-1] for line in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d", line)]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert f"Python {versions[0]} to {versions[-1]}" in read("constraints.txt").splitlines()[0]
