"""Random logs split into three files give the same data as the whole log, or are refused with a one-line error."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.attack.inputs import Attack
from tests.attack.logs_made import read_or_refused

from mclrec.data.loading import prepare
from mclrec.data.sequences import SequenceData
from mclrec.data.split import PARTS, by_files, leave_one_out

pytestmark = pytest.mark.attack

NAMES = ("train", "valid", "test")
SIGNS = {".csv": ",", ".tsv": "\t", ".dat": "::"}


def random_ids(rng: np.random.Generator, count: int) -> list[str]:
    numbers = rng.choice(200, count, replace=False)
    kind = rng.integers(3)
    if kind == 0:
        return [str(number) for number in numbers]
    return [f"x{number}" if kind == 1 or number % 3 else str(number) for number in numbers]


def random_log(rng: np.random.Generator) -> list[list[tuple[str, str, int]]]:
    """Rows of each user in order, without ties."""
    users, items = random_ids(rng, int(rng.integers(2, 12))), random_ids(rng, int(rng.integers(4, 20)))
    log: list[list[tuple[str, str, int]]] = []
    for user in users:
        count = int(rng.integers(1, 9)) if log else 5
        times = np.sort(rng.choice(10**6, count, replace=False))
        log.append([(user, str(rng.choice(items)), int(time)) for time in times])
    return log


def write(path: Path, rows: list[tuple[str, str, int]], rng: np.random.Generator) -> None:
    order = rng.permutation(len(rows))
    lines = [("user", "item", "time"), *(rows[place] for place in order)]
    path.write_text("".join(SIGNS[path.suffix].join(map(str, line)) + "\n" for line in lines))


def histories(data: SequenceData) -> dict[str, list[str]]:
    return {
        str(data.user_ids[row + 1]): [str(data.item_ids[int(item)]) for item in data.sequence(row)]
        for row in range(data.num_users)
    }


def test_leave_one_out_in_three_files_is_leave_one_out(attack: Attack, tmp_path: Path) -> None:
    for rng in attack.inputs():
        log, engine = random_log(rng), str(rng.choice(["duckdb", "polars", "pandas"]))
        ending = str(rng.choice(list(SIGNS)))
        cuts = [max(len(rows) - 2, 0) if len(rows) > 2 else len(rows) for rows in log]
        parts = [
            [row for rows, cut in zip(log, cuts, strict=True) for row in rows[:cut]],
            [row for rows, cut in zip(log, cuts, strict=True) for row in rows[cut : cut + 1]],
            [row for rows, cut in zip(log, cuts, strict=True) for row in rows[cut + 1 :]],
        ]
        for name, rows in zip(NAMES, parts, strict=True):
            write(tmp_path / f"{name}{ending}", rows, rng)
        write(tmp_path / f"whole{ending}", [row for rows in log for row in rows], rng)
        train, valid, test = (str(tmp_path / f"{name}{ending}") for name in NAMES)
        parted = prepare(train, valid=valid, test=test, engine=engine)
        whole = prepare(tmp_path / f"whole{ending}", min_count=1)
        assert histories(parted) == histories(whole)
        assert list(parted.item_ids) == list(whole.item_ids)
        first, second = leave_one_out(whole), by_files(parted)
        assert first.training.fingerprint == second.training.fingerprint
        for part in PARTS:
            assert np.array_equal(first.targets(part).places, second.targets(part).places)
        for path in tmp_path.iterdir():
            path.unlink()


def test_rows_thrown_into_three_files_are_read_in_their_order_or_refused(
    attack: Attack, tmp_path: Path
) -> None:
    for rng in attack.inputs():
        rows = [row for rows in random_log(rng) for row in rows]
        files: list[list[tuple[str, str, int]]] = [[], [], []]
        for row in rows:
            files[int(rng.integers(3))].append(row)
        files[2] += [rows[0]] * int(rng.integers(2))
        places: list[Any] = []
        for name, part in zip(NAMES, files, strict=True):
            path = tmp_path / f"{name}{rng.choice(list(SIGNS))}"
            write(path, part, rng)
            places.append(str(path))
        data = read_or_refused(prepare, places[0], valid=places[1], test=places[2])
        if isinstance(data, str):
            assert len(data) <= 300 + 3 * len(str(tmp_path))
        else:
            wanted: dict[str, list[str]] = {}
            for part in files:
                for user, item, _ in sorted(part, key=lambda row: row[2]):
                    wanted.setdefault(user, []).append(item)
            assert histories(data) == wanted
            assert data.taken is not None
            assert data.taken.parts is not None
            assert data.taken.parts.rows == tuple(map(len, files))
            kept = tmp_path / "kept"
            data.save(kept)
            assert SequenceData.load(kept).fingerprint == data.fingerprint
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
