"""Sessions in a file, with several processes, crashes, full disks and damage."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.rest.conftest import NAMES, Running, make_service, serving
from tests.serving.rest.session_helpers import KEYS, SECONDS, Clock, PlainSessions, draw_items

from mclrec.errors import OutputError
from mclrec.serving.rest import session_file
from mclrec.serving.rest.model_store import ModelStore
from mclrec.serving.rest.routes import make_app
from mclrec.serving.rest.session_file import SessionFile, check_session_file
from mclrec.serving.rest.sessions import OVERHEAD, Limits, SessionsUnavailable
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics

LIMITS = Limits(sessions=100, items=12, content=1 << 20, seconds=SECONDS)

WRITER = """
import asyncio, sys
from pathlib import Path
from mclrec.serving.rest.session_file import SessionFile, check_session_file
from mclrec.serving.rest.sessions import Limits
from mclrec.serving.rest.telemetry import Metrics

async def work(path, name, count):
    check_session_file(path)
    store = SessionFile(path, Limits(1000, 10_000, 1 << 30, 1e9), Metrics(), 1000)
    for number in range(count):
        await store.add("shared", [f"{name} {number}"], False, 60)
        await store.add(f"{name} {number % 7}", [number], False, 60)
        print(number, flush=True)

asyncio.run(work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
"""


def store(
    path: Path, limits: Limits = LIMITS, clock: Clock | None = None, metrics: Metrics | None = None
) -> SessionFile:
    return SessionFile(path, limits, metrics or Metrics(), 1000, clock or Clock())


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def held(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Number and bytes of sessions: as recorded in the file, and as counted in it."""
    with sqlite3.connect(path) as connection:
        said = connection.execute("SELECT number, content FROM held").fetchone()
        lengths = [row[0] for row in connection.execute("SELECT length(items) FROM sessions")]
    connection.close()
    return said, (len(lengths), sum(length + OVERHEAD for length in lengths))


@pytest.mark.parametrize("seed", range(3))
def test_a_file_keeps_what_a_plain_store_keeps(seed: int, tmp_path: Path) -> None:
    """Two stores take turns on the file, and now and then one of them is reopened."""

    async def work() -> None:
        rng, clock, path = random.Random(seed), Clock(), tmp_path / "sessions"
        stores, plain = [store(path, clock=clock), store(path, clock=clock)], PlainSessions(LIMITS.items)
        for _ in range(150):
            clock.now += rng.choice([0.0, 0.1, 1.0, SECONDS])
            key, items, clear = rng.choice(KEYS), draw_items(rng), rng.random() < 0.1
            if rng.random() < 0.5:
                added = await rng.choice(stores).add(key, items, clear, 5.0)
                assert (added.held, added.dropped) == plain.add(key, items, clear, clock.now)
            assert await rng.choice(stores).read(KEYS, 5.0) == [plain.read(key, clock.now) for key in KEYS]
            if rng.random() < 0.05:
                stores[rng.randrange(2)] = store(path, clock=clock)
        said, found = held(path)
        assert said == found

    asyncio.run(work())


def test_bounds_hold_in_the_file(tmp_path: Path) -> None:
    async def work() -> None:
        clock, metrics, path = Clock(), Metrics(), tmp_path / "sessions"
        few = store(path, replace(LIMITS, sessions=5), clock, metrics)
        for number in range(20):
            await few.add(f"{number}", [number], False, 5.0)
            clock.now += 0.1
        assert await few.read([f"{number}" for number in (14, 15, 19)], 5.0) == [[], [15], [19]]
        small = store(path, replace(LIMITS, content=2000), clock, metrics)
        await small.add("x", ["x" * 500], False, 5.0)
        assert small.held() == 3  # the text counts 500 bytes, and each session another 400
        assert await small.read(["x", "19"], 5.0) == [["x" * 500], [19]]
        clock.now += SECONDS + 1
        await small.add("y", [1], False, 5.0)
        assert small.held() == 1
        clock.now -= 1000  # the clock is set back
        assert await small.read(["y"], 5.0) == [[]]
        await small.add("z", [1], False, 5.0)
        assert small.held() == 1
        text = metrics.text().decode()
        assert 'mclrec_sessions_dropped_total{reason="expired"} 4.0' in text
        assert held(path)[0] == held(path)[1]

    asyncio.run(work())


def test_keys_are_not_in_the_file_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "sessions"
    asyncio.run(store(path).add("a-key-of-a-customer", ["item 01"], False, 5.0))
    written = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert b"item 01" in written
    assert b"a-key-of-a-customer" not in written
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}


def test_processes_write_side_by_side_and_one_is_killed_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "sessions"
    writers = [writer(path, name, 150) for name in "abc"]
    killed = writer(path, "killed", 10**6)
    assert killed.stdout is not None
    for _ in range(40):
        killed.stdout.readline()
    killed.kill()
    said = [one.communicate(timeout=60) for one in writers]
    assert [one.returncode for one in writers] == [0, 0, 0], said
    told = [int(line) for line in killed.communicate()[0].split()]

    async def work() -> None:
        kept = store(path, Limits(10**6, 10**6, 1 << 30, 1e12), clock=Clock(1e9))
        [shared] = await kept.read(["shared"], 5.0)
        for name in "abc":  # each event once, in order
            own = [item for item in shared if str(item).startswith(f"{name} ")]
            assert own == [f"{name} {number}" for number in range(150)]
        left = [item for item in shared if str(item).startswith("killed")]
        assert len(left) >= max([39, *told]) + 1  # every acknowledged event is kept
        assert left == [f"killed {number}" for number in range(len(left))]
        await kept.add("after", [1], False, 5.0)

    asyncio.run(work())
    assert held(path)[0] == held(path)[1]


def test_a_process_that_stands_still_in_the_middle_of_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock blocks events, with an error, but not look-ups; after it is released, events work again."""
    monkeypatch.setattr(session_file, "_LOCKED_SECONDS", 0.05)
    path, metrics = tmp_path / "sessions", Metrics()

    async def work() -> None:
        kept = store(path, metrics=metrics)
        await kept.add("s", [1], False, 5.0)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM sessions")
        with pytest.raises(SessionsUnavailable, match="another process keeps them locked"):
            await kept.add("s", [2], False, 5.0)
        assert await kept.read(["s"], 5.0) == [[1]]
        other.execute("ROLLBACK")
        assert (await kept.add("s", [3], False, 5.0)).held == 2
        other.close()

    asyncio.run(work())
    assert 'mclrec_session_errors_total{reason="locked"} 1.0' in metrics.text().decode()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = tmp_path / "sessions", session_file._open

    def small(path: Path) -> sqlite3.Connection:
        connection = opened(path)
        connection.execute("PRAGMA max_page_count = 12")
        return connection

    async def work() -> None:
        roomy = store(path)
        await roomy.add("s", [1], False, 5.0)
        monkeypatch.setattr(session_file, "_open", small)
        full = store(path)
        with pytest.raises(SessionsUnavailable, match="the disk is full"):  # noqa: PT012 - after some that fit
            for number in range(200):
                await full.add(f"{number}", ["x" * 500] * 12, False, 5.0)
        assert await full.read(["s"], 5.0) == [[1]]
        await full.add("s", [], True, 5.0)  # a write that takes no space succeeds
        monkeypatch.setattr(session_file, "_open", opened)
        assert (await store(path).add("t", ["x" * 500] * 12, False, 5.0)).held == 12

    asyncio.run(work())
    assert held(path)[0] == held(path)[1]


def test_files_that_are_none_of_ours_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE sessions (mine)")
    other.close()
    with sqlite3.connect(tmp_path / "newer") as newer:
        newer.execute(f"PRAGMA application_id = {session_file._APPLICATION}")
        newer.execute("PRAGMA user_version = 9")
    newer.close()
    (tmp_path / "text").write_text("not a database, but text of some length" * 100)
    (tmp_path / "folder").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for name, said in (
        ("other", "is another kind of database; give another file"),
        ("newer", "sessions of format 9, but this version reads 1; move it away"),
        ("text", "the file is damaged; move it away"),
        ("folder", "folder"),
        ("nowhere/x", "nowhere"),
    ):
        with pytest.raises(OutputError, match=said):
            check_session_file(tmp_path / name)
    assert {path: path.read_bytes() for path in before} == before


def test_a_file_that_is_removed_or_replaced_while_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "sessions"

    async def work() -> None:
        kept = store(path)
        await kept.add("s", [1], False, 5.0)
        path.unlink()
        assert await kept.read(["s"], 5.0) == [[]]
        assert (await kept.add("s", [2], False, 5.0)).held == 1
        for one in tmp_path.iterdir():
            one.write_bytes(b"nonsense" * 1000)
        with pytest.raises(SessionsUnavailable, match="is damaged"):
            await kept.add("s", [3], False, 5.0)
        for one in tmp_path.iterdir():
            one.unlink()
        assert (await kept.add("s", [4], False, 5.0)).held == 1

    asyncio.run(work())


def test_a_flipped_bit_in_what_was_kept_is_told_and_not_recommended_from(tmp_path: Path) -> None:
    path, metrics = tmp_path / "sessions", Metrics()

    async def work() -> None:
        await store(path).add("s", ["item 01"], False, 5.0)
        with sqlite3.connect(path) as connection:
            [content] = connection.execute("SELECT items FROM sessions").fetchone()
            connection.execute("UPDATE sessions SET items = ?", (content.replace(b"item 01", b"item 03"),))
        connection.close()
        assert await store(path, metrics=metrics).read(["s"], 5.0) == [[]]

    asyncio.run(work())
    assert 'mclrec_sessions_dropped_total{reason="damaged"} 1.0' in metrics.text().decode()


Use = Callable[[httpx.AsyncClient], Awaitable[None]]


def over_http(path: Path, work: Use) -> None:
    async def run() -> None:
        settings, metrics = Settings.of(), Metrics()
        models = ModelStore(make_service, make_service(), settings, metrics)
        app = make_app(models, settings, metrics, sessions=SessionFile.of(path, settings, metrics))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            await work(http)

    asyncio.run(run())


def test_a_store_that_fails_fails_requests_for_sessions_alone(tmp_path: Path) -> None:
    path = tmp_path / "sessions"
    check_session_file(path)

    async def work(http: httpx.AsyncClient) -> None:
        event: dict[str, Any] = {"session": "s", "items": ["item 01"]}
        assert (await http.post("/events", json=event)).json()["session_items"] == 1
        for one in tmp_path.iterdir():
            one.write_bytes(b"\xff" * 9000)
        for target, body in (("/events", event), ("/recommend", {"session": "s"})):
            answer = await http.post(target, json=body)
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"] == "1"
            assert answer.json() == {"detail": "sessions cannot be kept: their file is damaged"}
        assert (await http.post("/recommend", json={"history": ["item 01"]})).status_code == 200
        for one in tmp_path.iterdir():
            one.unlink()
        assert (await http.post("/events", json=event)).json()["session_items"] == 1

    over_http(path, work)


@pytest.mark.slow
def test_a_service_goes_on_with_the_file_of_one_that_is_killed(model_directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "sessions"

    async def work(http: httpx.AsyncClient, one: Running) -> None:
        async def held(key: str) -> int:
            return int((await http.post("/recommend", json={"session": key})).json()["session_items"])

        async with httpx.AsyncClient(base_url=one.url) as other:
            for number, client in enumerate((other, http, other)):
                event = {"session": "s", "items": [NAMES[number]]}
                assert (await client.post("/events", json=event)).json()["session_items"] == number + 1
            found = (await other.post("/recommend", json={"session": "s", "k": 3})).json()
            assert found.pop("session_items") == 3
            assert found == (await other.post("/recommend", json={"history": NAMES[:3], "k": 3})).json()
            feeding = [other.post("/events", json={"session": "fed", "items": [n]}) for n in range(60)]
            fed = [asyncio.ensure_future(one) for one in feeding]
            while await held("fed") < 20:
                await asyncio.sleep(0.001)
            one.process.kill()
            told = await asyncio.gather(*fed, return_exceptions=True)
        kept = sum(isinstance(answer, httpx.Response) for answer in told)
        assert await held("fed") >= kept
        assert await held("s") == 3
        assert (await http.post("/events", json={"session": "fed", "items": ["x"]})).status_code == 200

    with serving(model_directory, tmp_path, "--sessions", str(path)) as one:
        over_http(path, lambda http: work(http, one))


def test_a_damaged_file_is_refused_before_the_service_starts(model_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "sessions").write_bytes(b"\x00\x01" * 5000)
    words = [
        sys.executable,
        "-m",
        "mclrec",
        "serve",
        str(model_directory),
        "--sessions",
        str(tmp_path / "sessions"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert done.stderr.strip().endswith("the file is damaged; move it away to start without sessions")
    assert "Traceback" not in done.stderr
