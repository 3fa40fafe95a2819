"""A command that writes checks its output path before its input: if neither is usable, the path is reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Cli
from tests.cli.test_bad_input import listing

COMMANDS = {  # kind of output: commands that write it
    "folder": (
        "prepare nowhere.csv --out {}",
        "train nowhere.csv --out {}",
        "reproduce table4 --datasets nowhere.csv --out {}",
        "export nowhere --out {}",
        "export nowhere --format vectors --out {}",
        "demo --out {}",
    ),
    "file": (
        "tune nowhere.csv --storage {}",
        "recommend nowhere --users nowhere.csv --out {}.csv",
        "report nowhere --out {}",
    ),
}
PLACES = {  # output path: what is wrong with it
    "file/below": "a part of the path is a file",
    "/proc/nothing/below": "cannot be written",
    "loop/below": "leads back to itself",
    "n" * 300: "too long",
}
CASES = [
    *((words, place) for kind in COMMANDS.values() for words in kind for place in PLACES),
    *((words, "file") for words in COMMANDS["folder"]),
    *((words, "folder") for words in COMMANDS["file"]),
]


@pytest.mark.parametrize(("words", "place"), CASES)
def test_the_place_is_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    before = listing(tmp_path)
    found = cli(*words.format(place).split())
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith(f"error: {place[:60]}")
    assert len(found.err.splitlines()) == 1
    assert "give another" in found.err or "name a" in found.err
    assert PLACES.get(place, "is to be written") in found.err
    assert listing(tmp_path) == before
