"""Sessions in memory, and their effect on requests."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.serving.rest.conftest import NAMES, client, use
from tests.serving.rest.session_helpers import KEYS, SECONDS, Clock, PlainSessions, draw_items

from mclrec.serving.rest.sessions import Limits, SessionMemory
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics

LIMITS = Limits(sessions=100, items=12, content=1 << 20, seconds=SECONDS)


@pytest.mark.parametrize("seed", range(5))
def test_memory_keeps_what_a_plain_store_keeps(seed: int) -> None:
    async def work() -> None:
        rng, clock = random.Random(seed), Clock()
        store, plain = SessionMemory(LIMITS, Metrics(), clock), PlainSessions(LIMITS.items)
        for _ in range(400):
            clock.now += rng.choice([0.0, 0.1, 1.0, SECONDS])
            key, items, clear = rng.choice(KEYS), draw_items(rng), rng.random() < 0.1
            if rng.random() < 0.5:
                added = await store.add(key, items, clear, 1.0)
                assert (added.held, added.dropped) == plain.add(key, items, clear, clock.now)
            assert await store.read(KEYS, 1.0) == [plain.read(key, clock.now) for key in KEYS]

    asyncio.run(work())


def test_the_oldest_session_makes_room_and_expired_ones_go() -> None:
    async def work() -> None:
        clock, metrics = Clock(), Metrics()
        store = SessionMemory(replace(LIMITS, sessions=3), metrics, clock)
        for key in "abcad":
            await store.add(key, [key], False, 1.0)
            clock.now += 1
        assert await store.read(list("abcd"), 1.0) == [["a", "a"], [], ["c"], ["d"]]
        assert store.held() == 3
        clock.now += SECONDS
        await store.add("e", ["e"], False, 1.0)
        assert store.held() == 1
        text = metrics.text().decode()
        assert 'mclrec_sessions_dropped_total{reason="room"} 1.0' in text
        assert 'mclrec_sessions_dropped_total{reason="expired"} 3.0' in text
        await store.add("e", [], True, 1.0)
        assert store.held() == 0

    asyncio.run(work())


@pytest.mark.parametrize("length", [1, 100, 512])
def test_a_flood_of_keys_takes_no_more_memory_than_it_may(length: int) -> None:
    """Memory traced by Python stays within 10 % of the bound, however many keys arrive."""

    async def work() -> int:
        store = SessionMemory(Limits(10**9, 1000, 1 << 20, 60.0), Metrics())
        tracemalloc.start()
        for number in range(6000):
            await store.add(f"{number}" * 20, [f"{number % 9}" * length], False, 1.0)
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert store.held() > 500
        return taken

    assert asyncio.run(work()) < 1.1 * (1 << 20)


def test_a_session_stands_in_front_of_the_history() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        async def ask(**asked: Any) -> dict[str, Any]:
            found = await http.post("/recommend", json={"k": 5, **asked})
            assert found.status_code == 200, found.text
            return dict(found.json())

        def without(reply: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in reply.items() if name != "session_items"}

        event = (await http.post("/events", json={"session": "s", "items": ["item 03", "who", 9]})).json()
        assert event == {"session_items": 3, "dropped": 0, "unknown": ["who", 9], "model": "counting-1"}
        event = (await http.post("/events", json={"session": "s", "items": ["item 04"]})).json()
        assert event["session_items"] == 4
        history = ["item 03", "who", 9, "item 04"]
        alone, before = await ask(session="s"), await ask(session="s", history=["item 01"])
        assert alone["session_items"] == before["session_items"] == 4
        assert without(alone) == await ask(history=history)
        assert without(before) == await ask(history=[*history, "item 01"])
        gone = await ask(session="t", history=["item 01"])
        assert gone["session_items"] == 0
        assert without(gone) == await ask(history=["item 01"])
        assert (await ask(session="t"))["popular"]
        requests = [{"session": "s"}, {"history": ["item 01"]}, {"session": "t"}, {"session": "s", "k": 1}]
        batch = (await http.post("/recommend/batch", json={"requests": requests})).json()["answers"]
        assert [one.get("session_items") for one in batch] == [4, None, 0, 4]
        assert batch[0]["items"][:1] == batch[3]["items"]
        cleared = await http.post("/events", json={"session": "s", "items": ["item 05"], "clear": True})
        assert cleared.json()["session_items"] == 1
        assert without(await ask(session="s")) == await ask(history=["item 05"])
        text = (await http.get("/metrics")).text
        for line in (
            "mclrec_sessions 1.0",
            "mclrec_session_items_total 5.0",
            "mclrec_session_misses_total 3.0",
        ):
            assert line in text.splitlines()

    use(work)


def test_what_a_session_may_not_be() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        for path, body, said in (
            ("/recommend", {}, "history is missing: give one, or a session"),
            ("/recommend/batch", {"requests": [{"history": []}, {"k": 3}]}, "history is missing"),
            ("/recommend", {"session": ""}, "session"),
            ("/recommend", {"session": "x" * 129}, "session"),
            ("/recommend", {"session": 7}, "session"),
            ("/events", {"session": "s"}, "items: Field required"),
            ("/events", {"items": []}, "session: Field required"),
            ("/events", {"session": "s", "items": ["item 01"] * 13}, "items has 13 entries: at most 12"),
            ("/events", {"session": "s", "items": [None]}, "items.0"),
        ):
            answer = await http.post(path, json=body)
            assert answer.status_code == 422, body
            assert said in answer.json()["detail"]
        assert (await http.post("/recommend", json={"session": None, "history": []})).status_code == 200

    use(work, max_history=12)


def test_a_session_keeps_its_newest_items() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        for number, name in enumerate(NAMES[:6], start=1):
            event = (await http.post("/events", json={"session": "s", "items": [name]})).json()
            assert (event["session_items"], event["dropped"]) == (min(number, 4), int(number > 4))
        found = (await http.post("/recommend", json={"session": "s"})).json()
        wanted = (await http.post("/recommend", json={"history": NAMES[2:6]})).json()
        assert found == {**wanted, "session_items": 4}
        assert "mclrec_session_items_dropped_total 2.0" in (await http.get("/metrics")).text.splitlines()

    use(work, max_session_items=4)


def test_settings_name_their_options() -> None:
    from mclrec.errors import ConfigError

    for given in ({"max_sessions": 0}, {"session_ttl": 0}, {"max_session_items": 0}):
        with pytest.raises(ConfigError, match=f"--{next(iter(given)).replace('_', '-')} = 0"):
            Settings.of(**given)


def test_events_of_one_session_under_load_are_all_there() -> None:
    async def work() -> None:
        async with client(max_session_items=1000) as (http, _):
            sent = [http.post("/events", json={"session": "s", "items": [n]}) for n in range(200)]
            assert {answer.status_code for answer in await asyncio.gather(*sent)} == {200}
            found = (await http.post("/recommend", json={"session": "s"})).json()
            assert sorted(found["unknown"]) == list(range(200))

    asyncio.run(work())
