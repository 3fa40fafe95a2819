"""Random logs in intact and damaged files are read correctly and the same by every engine, or refused by file name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.attack.damage import damaged
from tests.attack.inputs import Attack
from tests.attack.logs_made import (
    Made,
    contents,
    random_file,
    random_parquet,
    read_or_refused,
    sequences,
    typed,
)

from mclrec.data import delimited, json_logs, user_lines
from mclrec.data.loading import prepare

pytestmark = pytest.mark.attack


def outcome(made: Made, engine: str) -> Any:
    """The sequences and times that an engine reads from a log, or the refusal."""
    options = {"columns": made.columns, "header": made.header, "engine": engine}
    data = read_or_refused(prepare, made.path, min_count=1, **options)
    if isinstance(data, str):
        return data
    return contents(data), None if data.times is None else data.times.tolist()


@pytest.mark.attack(share=2)
def test_whole_text(attack: Attack, tmp_path: Path) -> None:
    for rng in attack.inputs():
        made = random_file(tmp_path, rng)
        engine = str(rng.choice(["duckdb", "polars", "pandas"]))
        found = outcome(made, engine)
        # Some values do not reveal their role; the message then names the option.
        unclear = isinstance(found, str) and "no column looks like" in found and made.columns is None
        assert unclear or found[0] == sequences(typed(made)), (made, found)
        _clear(tmp_path)


@pytest.mark.attack(share=2)
def test_damaged_text(attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rng in attack.inputs():
        made = random_file(tmp_path, rng)
        made.path.write_bytes(damaged(made.content or b"", rng))
        found = outcome(made, "duckdb")
        assert outcome(made, str(rng.choice(["polars", "pandas"]))) == found
        with monkeypatch.context() as slow:
            for module in (delimited, json_logs, user_lines):
                slow.setattr(module, "read_by_duckdb", lambda *_: False)
            plainly = outcome(made, "duckdb")
        assert _alike(plainly, found), (made.path.read_bytes(), plainly, found)
        _clear(tmp_path)


def _alike(plainly: Any, found: Any) -> bool:
    """Whether both agree, or the Python reader refuses invalid JSON that DuckDB accepts, such as NaN in another key."""
    return plainly == found or (isinstance(plainly, str) and "line is not JSON" in plainly)


def test_whole_parquet(attack: Attack, tmp_path: Path) -> None:
    for rng in attack.inputs():
        made = random_parquet(tmp_path, rng)
        for engine in ("duckdb", str(rng.choice(["polars", "pandas"]))):
            found = outcome(made, engine)
            assert found[0] == sequences(made), (engine, made, found)
        _clear(tmp_path)


def test_damaged_parquet(attack: Attack, tmp_path: Path) -> None:
    for rng in attack.inputs():
        made = random_parquet(tmp_path, rng)
        files = sorted(made.path.rglob("p*")) if made.content is None else [made.path]
        file = next(file for file in files if file.is_file())
        file.write_bytes(damaged(file.read_bytes(), rng))
        found = outcome(made, "duckdb")
        for engine in ("polars", "pandas"):
            assert outcome(made, engine) == found
        _clear(tmp_path)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path)
