"""A third-party package adds a model and a data set through entry points."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.helpers import tiny_data, write_log
from tests.test_contributing import block

SOURCE = Path(__file__).parent / "plugin"
SMALL = ["--set", "hidden_size=8", "--set", "epochs=2"]


def install(target: Path, name: str, files: dict[str, str], points: dict[str, dict[str, str]]) -> None:
    """Write what an installer would: the package's modules, and its metadata with entry points."""
    for file, text in files.items():
        path = target / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    about = target / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, members in points.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in members.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A site-packages folder that contains the package of ``tests/plugin``, as its ``pyproject.toml`` describes it."""
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder = tmp_path / "site"
    files = {
        str(path.relative_to(SOURCE / "src")): path.read_text(encoding="utf-8")
        for path in (SOURCE / "src").rglob("*.py")
    }
    files["mclrec_average/model.py"] = block("python")  # the worked model of CONTRIBUTING.md
    log = write_log(tmp_path / "log.csv", tiny_data(shortest=6))
    install(folder, project["name"], files, project["entry-points"])
    shutil.copy(log, folder / "mclrec_average" / "log.csv")
    checksum = hashlib.sha256(log.read_bytes()).hexdigest()
    (folder / "mclrec_average" / "log.sha256").write_text(checksum)
    return folder


def python(target: Path, *words: str, cwd: Path, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter that finds the installed packages."""
    paths = os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *words],
        input=said,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths},
    )


class Said(NamedTuple):
    """Result of a command: its exit status, standard output and standard error."""

    status: int
    output: str
    errors: str


COMMANDS = """
import contextlib, io, json, sys
from mclrec.cli import main

said = []
for words in json.load(sys.stdin):
    status, output, errors = 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            main(words)
        except SystemExit as leaving:
            status = leaving.code
    said.append((status or 0, output.getvalue(), errors.getvalue()))
json.dump(said, sys.stdout)
"""


def commands(target: Path, *lines: list[str], cwd: Path) -> list[Said]:
    """Run command lines one after another in a single fresh interpreter, because starting one is slow."""
    found = python(target, "-c", COMMANDS, cwd=cwd, said=json.dumps(lines))
    assert found.returncode == 0, found.stderr
    return [Said(*said) for said in json.loads(found.stdout)]


@pytest.mark.slow
def test_model_and_data_are_known_by_name(target: Path, tmp_path: Path) -> None:
    program = (
        "import mclrec, sys\n"
        "run = mclrec.train('average-log', 'average', hidden_size=8, epochs=2, progress=False)\n"
        "assert 'average' in [model.name for model in mclrec.models()]\n"
        "assert 'average-log' in [data.name for data in mclrec.datasets()]\n"
        "result = mclrec.evaluate(run)\n"
        "assert result.metrics == run.metrics['U']\n"
        "assert len(mclrec.Model.load(run.directory).recommend(['item 003'], k=3)) == 3\n"
        "print(run.info.data.kind, run.info.command)\n"
    )
    found = python(target, "-c", program, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("dataset mclrec train average-log --model average --seed 1")
    assert found.stderr == ""


@pytest.mark.slow
def test_the_command_line_knows_them(target: Path, tmp_path: Path) -> None:
    trained, measured, models, model, datasets, near = commands(
        target,
        ["train", "average-log", "--model", "average", *SMALL, "--out", "run", "-q"],
        ["evaluate", "run"],
        ["models"],
        ["models", "average"],
        ["datasets"],
        ["train", "average-log", "--model", "averag"],
        cwd=tmp_path,
    )
    assert (trained.status, measured.status) == (0, 0)
    assert "average" in models.output
    assert "hidden_size" in model.output
    assert "average-log" in datasets.output
    assert near.status != 0
    assert "did you mean 'average'" in near.errors


def test_help_does_not_look_for_packages(target: Path, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom mclrec.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert 'mclrec_average' not in sys.modules and 'importlib.metadata' not in sys.modules"
    )
    assert python(target, "-c", program, cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_a_broken_package_is_one_warning_that_names_it(target: Path, tmp_path: Path) -> None:
    points = {
        "mclrec.models": {"broken": "broken_plugin", "silent": "silent_plugin"},
        "mclrec.datasets": {"lost": "not_there"},
    }
    files = {"broken_plugin.py": "raise RuntimeError('out of\\norder')\n", "silent_plugin.py": ""}
    install(target, "broken-package", files, points)
    listed, datasets, asked, others = commands(
        target,
        ["models"],
        ["datasets"],
        ["train", "average-log", "--model", "broken"],
        ["train", "average-log", "--model", "average", *SMALL, "--out", "run", "-q"],
        cwd=tmp_path,
    )
    assert listed.status == 0
    assert "average" in listed.output
    told = [line for line in listed.errors.splitlines() if "broken-package" in line]
    assert len(told) == 2
    assert "model 'broken' of broken-package: cannot use broken_plugin: RuntimeError: out of order" in told[0]
    assert "silent_plugin: it does not register that name" in told[1]
    assert "lost" in datasets.errors
    assert asked.status != 0
    assert "cannot use broken_plugin" in asked.errors
    assert others.status == 0
    assert "broken-package" not in others.errors


def test_a_name_of_ours_cannot_be_taken(target: Path, tmp_path: Path) -> None:
    text = (
        "from mclrec.data.datasets import register_dataset\n"
        "register_dataset('beauty', address='mine.csv', sha256='0' * 64)\n"
    )
    install(target, "thief", {"thief.py": text}, {"mclrec.datasets": {"beauty": "thief"}})
    listed = python(target, "-m", "mclrec", "datasets", cwd=tmp_path)
    assert "data set 'beauty' of thief" in listed.stderr
    assert "a data set named 'beauty' is already registered" in listed.stderr
    assert "22,363" in listed.stdout
