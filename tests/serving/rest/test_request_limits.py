"""Limits on the cost of requests: long names, many words, many faults, many bodies at once, clients that leave."""

from __future__ import annotations

import asyncio
import json
from threading import Event
from typing import Any

import httpx
import pytest
from tests.serving.rest.conftest import Counting, use

from mclrec.inference.queries import DenseQuery, Ranked

JSON = {"Content-Type": "application/json"}


def test_names_words_and_lists_are_bounded() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        for path in ("/similar/" + "x" * 513, "/items?q=" + "+".join("abcdefghijklmnopq")):
            refused = await http.get(path)
            assert refused.status_code == 422
            assert "at most" in refused.json()["detail"]
        assert (await http.get("/items?q=" + "a+b+c+" * 30)).status_code == 200  # three distinct words
        unknown = await http.get("/similar/" + "item 01 " * 60)
        assert unknown.status_code == 404
        assert len(unknown.json()["detail"]) < 300

    use(work)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"history": [' + b"{}," * 50_000 + b"{}]}", "history has 50001 entries: at most 1000"),
        (b'{"history": [' + b"{}," * 900 + b"{}]}", "should be a valid"),
        (b"{" + b",".join(b'"%x":1' % n for n in range(20_000)) + b"}", "an object has 20000 keys"),
        (b'{"history": [], "' + b"k" * 3000 + b'": 1}', "Extra inputs are not permitted"),
    ],
)
def test_the_answer_to_many_faults_is_short(body: bytes, reason: str) -> None:
    async def work(http: httpx.AsyncClient) -> None:
        refused = await http.post("/recommend", content=body, headers=JSON)
        assert refused.status_code == 422
        assert reason in refused.json()["detail"]
        assert len(refused.content) < 3000

    use(work)


def test_lookups_have_a_queue_and_a_deadline() -> None:
    class Slow(Counting):
        begun, gate_of_similar = Event(), Event()

        def similar(self, item: int, query: DenseQuery) -> Ranked:
            self.begun.set()
            self.gate_of_similar.wait(20)
            return super().similar(item, query)

    async def work(http: httpx.AsyncClient) -> None:
        late = asyncio.create_task(http.get("/similar/item 01"))
        while not Slow.begun.is_set():
            await asyncio.sleep(0)
        full = await http.get("/items?q=item")
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/metrics")).status_code == 200
        assert (await late).status_code == 504
        Slow.gate_of_similar.set()

    use(work, engine=Slow(), max_lookups=1, deadline=0.3)


def test_bodies_under_way_are_bounded_in_all() -> None:
    go = asyncio.Event()

    async def slow(part: bytes) -> Any:
        yield part
        await go.wait()
        yield b"}"

    async def work(http: httpx.AsyncClient) -> None:
        first = asyncio.create_task(
            http.post("/recommend", content=slow(b'{"history": []' + b" " * 900), headers=JSON)
        )
        while True:
            second = await http.post("/recommend", content=b" " * 900, headers=JSON)
            if second.status_code == 503:
                break
            await asyncio.sleep(0)
        assert "bodies" in second.json()["detail"]
        go.set()
        assert (await first).status_code == 200
        assert (await http.post("/recommend", content=b" " * 900, headers=JSON)).status_code == 422

    use(work, max_body=1024, max_bodies=1024)


def test_a_client_that_leaves_in_mid_body_is_no_failure_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    sent: list[dict[str, Any]] = []
    parts = iter([{"type": "http.request", "body": b'{"his', "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(parts)

    async def send(message: Any) -> None:
        sent.append(message)

    async def work(http: httpx.AsyncClient) -> None:
        app = http._transport.app  # type: ignore[attr-defined]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/recommend",
            "raw_path": b"/recommend",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        }
        await app(scope, receive, send)
        assert sent[0]["status"] == 499
        text = (await http.get("/metrics")).text
        assert 'mclrec_requests_total{route="/recommend",status="499"} 1.0' in text
        assert 'status="500"' not in text

    use(work)
    assert json.loads(sent[1]["body"])["detail"] == "the client disconnected"
