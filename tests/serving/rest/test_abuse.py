"""Hostile or broken clients cause no crash, no 500, no memory growth, but the right statuses (`make test-abuse`)."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from tests.serving.rest.conftest import NAMES, Running, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc"),
]

BODIES = 10_000
CONNECTIONS = 500
GROWTH = 40_000  # KiB: room for the allocator's buffers and caches, not for a leak of 1 % of what is sent
JSON = {"Content-Type": "application/json"}
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture(scope="module")
def service(model_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(model_directory, tmp_path_factory.mktemp("abuse"), "--timeout", "5") as running:
        yield running
        assert running.process.poll() is None
        assert not [line for line in running.lines() if '"error"' in line]


def resident(running: Running) -> int:
    """Resident memory of the process in KiB."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def test_schemathesis_finds_nothing(service: Running) -> None:
    words = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", f"{service.url}/openapi.json", "--checks", CHECKS, "--exclude-path", "/model/reload"),
        *("--max-examples", "60", "--seed", "1", "--generation-database", "none", "--no-color"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def _malformed(rng: random.Random) -> bytes:
    """A valid body with one fault, or random bytes."""
    good = json.dumps({"history": rng.choices(NAMES, k=rng.randint(1, 20)), "k": rng.randint(1, 20)}).encode()
    place = rng.randrange(len(good))
    kind = rng.randrange(6)
    if kind == 0:
        return good[:place]
    if kind == 1:
        return good[:place] + bytes([rng.randrange(256)]) + good[place + 1 :]
    if kind == 2:
        return rng.randbytes(rng.randrange(200))
    if kind == 3:
        return good.replace(b'"k": ', b'"k": ' + rng.choice([b"-", b"1e400,", b"NaN,", b'"', b"9" * 50]))
    if kind == 4:
        return rng.choice([b"[", b'{"a":', b'{"history":[']) * rng.randrange(1, 3000)
    return good.replace(b'"item', rng.choice([b"null, item", b'"\\ud800', b"1.5, ", b"[", b"{}, "]), 1)


def test_ten_thousand_malformed_bodies(service: Running) -> None:
    rng = random.Random(1)

    async def run(count: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        left = iter([_malformed(rng) for _ in range(count)])

        async def client() -> None:
            async with httpx.AsyncClient(base_url=service.url, timeout=60, headers=JSON) as http:
                for body in left:
                    statuses[(await http.post("/recommend", content=body)).status_code] += 1

        await asyncio.gather(*(client() for _ in range(8)))
        return statuses

    asyncio.run(run(BODIES // 10))
    before = resident(service)
    statuses = asyncio.run(run(BODIES))
    assert set(statuses) <= {200, 422}, statuses  # a name with a changed letter is still a valid body
    assert statuses[422] > BODIES * 0.7
    assert resident(service) - before < GROWTH


def test_oversized_bodies(service: Running) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 65_536

    async def run() -> None:
        async with httpx.AsyncClient(base_url=service.url, timeout=60, headers=JSON) as http:
            for _ in range(100):
                for content in (b" " * (1 << 21), chunks()):
                    # The service may close the connection while we are still sending.
                    with suppress(httpx.WriteError, httpx.ReadError):
                        assert (await http.post("/recommend", content=content)).status_code == 413

    before = resident(service)
    asyncio.run(run())
    assert resident(service) - before < GROWTH
    big = {"requests": [{"history": ["x" * 500] * 2}] * 256}
    assert httpx.post(f"{service.url}/recommend/batch", json=big, timeout=60).status_code == 200


def test_slow_clients_do_not_hinder_others(service: Running) -> None:
    host, port = "127.0.0.1", int(service.url.rpartition(":")[2])

    async def slow(head: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(head)
        received = await reader.read()
        writer.close()
        return received

    async def run() -> None:
        body = b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
        waiting = [asyncio.create_task(slow(head)) for head in (b"GET / HT", body) for _ in range(50)]
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
            for _ in range(20):
                answer = await http.post("/recommend", json={"history": ["item 01"]})
                assert answer.status_code == 200
        assert all(b" 408 " in received for received in await asyncio.gather(*waiting))

    asyncio.run(run())


def test_five_hundred_connections(service: Running) -> None:
    async def client(start: asyncio.Event) -> list[int]:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(
            base_url=service.url, timeout=60, limits=limits, trust_env=False
        ) as http:
            await http.get("/health")
            await start.wait()
            asks = [{"history": ["item 01", "item 02"]}] * 3
            return [(await http.post("/recommend", json=ask)).status_code for ask in asks]

    async def run() -> Counter[int]:
        start = asyncio.Event()
        tasks = [asyncio.create_task(client(start)) for _ in range(CONNECTIONS)]
        await asyncio.sleep(0)
        start.set()
        return Counter(status for statuses in await asyncio.gather(*tasks) for status in statuses)

    asyncio.run(run())
    before = resident(service)
    statuses = asyncio.run(run())
    assert set(statuses) <= {200, 503, 504}, statuses
    assert sum(statuses.values()) == CONNECTIONS * 3
    assert statuses[200] > 0
    assert resident(service) - before < GROWTH


def test_endless_heads_and_pipelines_hold_no_memory(service: Running) -> None:
    page = b"GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n"
    before = resident(service)
    for begin, more in ((b"GET / HTTP/1.1\r\nX: ", b"x" * 65_536), (page, page * 1000)):
        for _ in range(20):
            with socket.create_connection(service.address) as client, suppress(OSError):
                client.settimeout(0.2)
                client.sendall(begin)
                for _ in range(200):
                    client.sendall(more)
    assert httpx.get(f"{service.url}/health").status_code == 200
    assert resident(service) - before < GROWTH


def test_idle_connections_beyond_the_open_files(model_directory: Path, tmp_path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with serving(model_directory, tmp_path, files=1024) as running, ExitStack() as idle:
        assert any("room for 864 connections" in line for line in running.lines())
        for number in range(1300):
            idle.enter_context(socket.create_connection(running.address))
            if number % 100 == 0:
                assert httpx.get(f"{running.url}/health").status_code == 200
        for path in ("/health", "/items"):
            assert httpx.get(f"{running.url}{path}").status_code == 200
