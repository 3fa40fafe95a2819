"""Random events with a damaged session file: only written items are read, and only one kind of error is raised."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.attack.damage import damaged
from tests.attack.inputs import Attack

from mclrec.errors import OutputError
from mclrec.serving.rest.session_file import SessionFile, check_session_file
from mclrec.serving.rest.sessions import Limits, SessionsUnavailable
from mclrec.serving.rest.telemetry import Metrics

pytestmark = pytest.mark.attack

KEYS = ["a", "b", "c"]
EVENTS = 12


def test_damaged_session_files(attack: Attack, tmp_path: Path) -> None:
    """Only items that were added to a session are read from it, however the file is damaged between events."""

    async def run(rng: np.random.Generator, folder: Path) -> None:
        path = folder / "sessions"
        stores = [SessionFile(path, Limits(50, 20, 1 << 20, 1e9), Metrics(), 100) for _ in range(2)]
        added: dict[str, set[object]] = {key: set() for key in KEYS}
        for number in range(EVENTS):
            if rng.random() < 0.2:
                files = sorted(folder.iterdir())
                if files:
                    one = files[rng.integers(len(files))]
                    if one.name.endswith("-shm") or rng.random() < 0.3:
                        one.unlink()  # -shm is mapped by the processes: truncating it would cut their memory
                    else:
                        one.write_bytes(damaged(one.read_bytes(), rng))
                    with suppress(OutputError):
                        check_session_file(path)
            key, store = KEYS[rng.integers(3)], stores[rng.integers(2)]
            item = f"{key} {number} " + "x" * int(rng.integers(0, 300))
            added[key].add(item)
            with suppress(SessionsUnavailable):
                await store.add(key, [item], False, 30.0)
            with suppress(SessionsUnavailable):
                for key, items in zip(KEYS, await store.read(KEYS, 30.0), strict=True):
                    assert set(items) <= added[key]

    for rng in attack.inputs():
        folder = tmp_path / str(attack.number)
        folder.mkdir()
        asyncio.run(run(rng, folder))


def test_damaged_rows(attack: Attack, tmp_path: Path) -> None:
    """Rows of any type and content, in a file that is valid for SQLite, are read as added or refused."""

    def value(rng: np.random.Generator) -> object:
        return [1, 2.5, "x", b"", b"x" * 9, -(2**63), 1e308][rng.integers(7)]

    async def run(rng: np.random.Generator, path: Path) -> None:
        store = SessionFile(path, Limits(3, 20, 3000, 1e9), Metrics(), 100)
        for key in KEYS:
            await store.add(key, [key], False, 30.0)
        column = ("at", "items")[rng.integers(2)]
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE sessions SET {column} = ?", (value(rng),))
            connection.execute("UPDATE held SET number = ?, content = ?", (value(rng), value(rng)))
            if rng.random() < 0.2:
                connection.execute(f"DELETE FROM {('held', 'sessions')[rng.integers(2)]}")
        connection.close()
        for key in KEYS:
            with suppress(SessionsUnavailable):
                [items] = await store.read([key], 30.0)
                assert set(items) <= {key}
                await store.add(key, [key], False, 30.0)

    for rng in attack.inputs():
        asyncio.run(run(rng, tmp_path / str(attack.number)))
