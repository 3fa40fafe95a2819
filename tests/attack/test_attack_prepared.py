"""Damaged, mixed-up or incomplete folders of prepared data are refused by name, or load as the original data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.attack.damage import damaged
from tests.attack.inputs import Attack
from tests.attack.logs_made import contents, read_or_refused
from tests.helpers import at_random_times, tiny_data

from mclrec.data.sequences import SequenceData, is_saved

pytestmark = pytest.mark.attack


def test_damaged_folders(attack: Attack, tmp_path: Path) -> None:
    data = at_random_times(tiny_data(users=6))
    other = replace(data, items=data.items[::-1].copy(), name="other")
    data.save(tmp_path / "data")
    other.save(tmp_path / "other")
    names = sorted(path.name for path in (tmp_path / "data").iterdir())
    folder = tmp_path / "folder"
    for rng in attack.inputs():
        shutil.copytree(tmp_path / "data", folder)
        _injure(folder, tmp_path / "other", names, rng)
        is_saved(folder)
        found = read_or_refused(SequenceData.load, folder)
        if not isinstance(found, str):
            assert contents(found) == contents(data)
            assert found.times_checksum == data.times_checksum
        shutil.rmtree(folder)


def _injure(folder: Path, other: Path, names: list[str], rng: np.random.Generator) -> None:
    file = folder / names[rng.integers(len(names))]
    kind = rng.integers(0, 6)
    if kind == 0:
        file.unlink()
    elif kind == 1:
        shutil.copy(other / file.name, file)
    elif kind == 2:
        meta = json.loads((folder / "meta.json").read_text())
        key = str(rng.choice(sorted(meta)))
        values: list[object] = [None, 5, -1.5, "x", [], {}, True, [[]]]
        if rng.random() < 0.3:
            del meta[key]
        else:
            meta[key] = values[rng.integers(len(values))]
        (folder / "meta.json").write_text(json.dumps(meta))
    elif kind == 3:
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(damaged(file.read_bytes(), rng))
