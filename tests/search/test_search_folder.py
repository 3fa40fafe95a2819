"""The folder of a search belongs to one journal only, and one made by an earlier version is found again."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from mclrec.search.search_folder import claim_folder, folder_of

NAMES = ("s", "s.a", "s.b", "s.journal", "s.journal-2", "s.a.b", ".s", "t.journal")


def started(storage: Path) -> Path:
    """Start a search: claim its folder and create its journal."""
    folder = claim_folder(storage)
    storage.touch()
    return folder


@pytest.mark.parametrize(("first", "second"), list(combinations(NAMES, 2)))
def test_two_journals_have_two_folders(tmp_path: Path, first: str, second: str) -> None:
    storages = [tmp_path / first, tmp_path / second]
    folders = [started(storage) for storage in storages]
    assert folders[0] != folders[1]
    assert (
        [folder_of(storage) for storage in storages] == [started(storage) for storage in storages] == folders
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_an_earlier_version_is_its_journals(tmp_path: Path, name: str) -> None:
    storage, other = tmp_path / name, tmp_path / f"{Path(name).stem}.new"
    before = tmp_path / f"{storage.stem}-search"
    (before / "trials").mkdir(parents=True)
    storage.touch()
    assert folder_of(other) == tmp_path / f"{other.name}-search"
    assert started(other) != before
    assert started(storage) == before


def test_the_folder_is_called_as_the_journal(tmp_path: Path) -> None:
    assert folder_of(tmp_path / "one.journal") == tmp_path / "one-search"
