"""Random logs in random files: the intake record's numbers match a plain count."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.attack.inputs import Attack
from tests.attack.logs_made import Made, contents, random_file, read_or_refused

from mclrec.data.intake_text import intake_lines, intake_warnings
from mclrec.data.loading import prepare
from mclrec.data.sequences import SequenceData

pytestmark = pytest.mark.attack


def core(rows: list[tuple[Any, ...]], least: int) -> list[tuple[Any, ...]]:
    """The k-core, from its definition."""
    users, items = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
    kept = [row for row in rows if users[row[0]] >= least and items[row[1]] >= least]
    return rows if len(kept) == len(rows) else core(kept, least)


def sizes(rows: list[tuple[Any, ...]]) -> tuple[int, int, int]:
    return len({row[0] for row in rows}), len({row[1] for row in rows}), len(rows)


def check(made: Made, data: SequenceData, least: int) -> None:
    rows: list[tuple[Any, ...]] = [(str(user), str(item), time) for user, item, time in made.rows]
    left = core(rows, least)
    found = data.taken
    assert found is not None
    assert (found.read.users, found.read.items, found.read.rows) == sizes(rows)
    assert (found.left.users, found.left.items, found.left.rows) == sizes(left)
    assert [step.rule for step in found.steps] == ["k-core"] * (least > 1)
    if found.left.tied is not None:
        moments, events = Counter((user, time) for user, _, time in left), Counter(left)
        assert found.left.tied == sum(count for count in moments.values() if count > 1) / len(left)
        assert found.left.duplicates == sum(count - 1 for count in events.values()) / len(left)
    assert found.left.repeats == (len(left) - len({row[:2] for row in left})) / len(left)
    histories = list(contents(data).values())
    held = [history[-2] in history[:-2] for history in histories if len(history) >= 3]
    assert found.left.returns == (sum(held) / len(held) if held else None)
    assert found.left.top_share == max(Counter(row[1] for row in left).values()) / len(left)
    lengths = sorted(map(len, histories))
    assert (found.left.lengths.least, found.left.lengths.most) == (lengths[0], lengths[-1])
    assert len(intake_lines(found)) <= 8
    lost = len(left) < len(rows) / 2 or sizes(left)[0] < sizes(rows)[0] / 2
    assert lost == ("k-core" in [warned.kind for warned in intake_warnings(found)])
    assert all(len(warned.text) <= 300 for warned in intake_warnings(found))


def test_the_record_is_a_count(attack: Attack, tmp_path: Path) -> None:
    for rng in attack.inputs():
        made = random_file(tmp_path, rng)
        least = int(rng.integers(1, 4))
        data = read_or_refused(prepare, made.path, min_count=least, columns=made.columns, header=made.header)
        if isinstance(data, str):
            rows: list[tuple[Any, ...]] = [(str(user), str(item)) for user, item, _ in made.rows]
            assert not core(rows, least) or "nothing is left" not in data, (made, data)
        else:
            check(made, data, least)
            saved = tmp_path / "saved"
            data.save(saved)
            assert SequenceData.load(saved).taken == data.taken
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
