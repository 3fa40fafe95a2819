"""Helpers: a model with predictable answers, a service around it, and model directories for real processes."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, cast

import httpx
import numpy as np
import pytest
import torch

from mclrec.data.packed import IntArray, Packed
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import EvaluationError
from mclrec.inference.catalogue import Catalogue
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.runtime import Runtime
from mclrec.inference.top_k import FloatArray
from mclrec.models.sasrec import SASRec, SASRecConfig
from mclrec.models.storage import save_model
from mclrec.serving.rest.connection_limits import BoundedProtocol, Connections
from mclrec.serving.rest.keys import KeyRing
from mclrec.serving.rest.middleware import Middleware
from mclrec.serving.rest.model_store import ModelStore
from mclrec.serving.rest.routes import make_app
from mclrec.serving.rest.server import Server, listen
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.sites import Sites
from mclrec.serving.rest.supervision import Hangup
from mclrec.serving.rest.telemetry import Metrics
from mclrec.serving.rest.tracing import Tracing

ITEMS = 40
NAMES = [f"item {number:02d}" for number in range(1, ITEMS + 1)]


@dataclass
class Counting:
    """An engine that scores an item by minus its distance above the sum of history and user, modulo the catalogue."""

    num_items: int = ITEMS
    max_length: int = 5
    gate: Event = field(default_factory=Event)
    batches: list[int] = field(default_factory=list)
    vectors: bool = True

    def __post_init__(self) -> None:
        self.gate.set()

    def answer(self, queries: Sequence[DenseQuery]) -> list[Ranked]:
        self.gate.wait(20)
        self.batches.append(len(queries))
        return [self._one(query) for query in queries]

    def _one(self, query: DenseQuery) -> Ranked:
        if query.history.tolist() == [13, 13, 13]:
            raise RuntimeError("a poisonous history")
        items = np.arange(1, self.num_items + 1)
        scores = -((items - query.user - query.history[-self.max_length :].sum()) % self.num_items).astype(
            np.float32
        )
        kept = ~np.isin(items, query.left_out)
        if query.allowed is not None:
            kept &= np.isin(items, query.allowed)
        order = np.argsort(-scores[kept], kind="stable")[: query.k]
        return Ranked(items[kept][order], scores[kept][order], popular=not len(query.history))

    def similar(self, item: int, query: DenseQuery) -> Ranked:
        if not self.vectors:
            raise EvaluationError("this model has no item vectors")
        others = np.array([other for other in range(1, self.num_items + 1) if other != item][: query.k])
        return Ranked(others, np.linspace(1, 0, len(others), dtype=np.float32))

    def query_vectors(self, histories: Packed, users: IntArray) -> FloatArray:
        raise EvaluationError("this model has no vectors")

    def item_vectors(self) -> FloatArray:
        raise EvaluationError("this model has no vectors")


def make_service(engine: Counting | None = None, version: str = "counting-1") -> Runtime:
    engine = engine or Counting()
    catalogue = Catalogue(Vocabulary(NAMES), np.arange(ITEMS + 1))
    card = {"name": "counting", "version": version, "engine": "none", "items": ITEMS}
    return Runtime(engine, catalogue, card, version, Vocabulary(["ann", "bob"]))


def save_directory(path: Path, seed: int = 1, names: Sequence[int | str] = NAMES, length: int = 10) -> Path:
    """Save an untrained model in a directory like that of a training."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 8, "inner_size": 16, "max_length": length}
    model = SASRec(SASRecConfig.model_validate(sizes), len(names))
    extra = {"data": {"name": "tiny"}, "seed": seed}
    counts = np.arange(len(names) + 1)
    save_model(path, name="sasrec", model=model, items=Vocabulary(names), counts=counts, extra=extra)
    return path


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_directory(tmp_path_factory.mktemp("model") / "sasrec")


@dataclass
class Running:
    """A running `mclrec serve` process."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.url.rpartition(":")[2])

    def lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(
    directory: Path, log: Path, *options: str, files: int | None = None, notify: Path | None = None
) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "mclrec", "serve", str(directory), *options]
    if files is not None:
        words = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *words]
    with log.open("w", encoding="utf-8") as file:
        environment = os.environ | ({} if notify is None else {"NOTIFY_SOCKET": str(notify)})
        return subprocess.Popen(words, stdout=file, stderr=file, text=True, env=environment)


@contextmanager
def serving(directory: Path, folder: Path, *options: str, files: int | None = None) -> Iterator[Running]:
    """Run `mclrec serve` until the block ends, with a limit on open files if one is given."""
    port, log = free_port(), folder / "log"
    process = start(directory, log, "--port", str(port), *options, files=files)
    running = Running(process, f"http://127.0.0.1:{port}", log)
    try:
        _until(lambda: _answers(running))
        yield running
    finally:
        process.kill()
        process.wait()


def _answers(running: Running) -> bool:
    assert running.process.poll() is None, running.log.read_text()
    try:
        return httpx.get(f"{running.url}/ready").status_code == 200
    except httpx.TransportError:
        return False


def _until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Poll until a condition holds: another process offers nothing to wait on."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        Event().wait(0.05)


until = _until


Use = Callable[[httpx.AsyncClient], Awaitable[None]]


@asynccontextmanager
async def client(
    engine: Counting | None = None,
    keys: KeyRing | None = None,
    admin: KeyRing | None = None,
    sites: Sites | None = None,
    load: Callable[[], Runtime] = make_service,
    tracing: Tracing | None = None,
    **limits: Any,
) -> AsyncIterator[tuple[httpx.AsyncClient, Middleware]]:
    settings, metrics = Settings.of(**limits), Metrics()
    models = ModelStore(load, make_service(engine), settings, metrics)
    gate = make_app(models, settings, metrics, keys, admin, sites, tracing=tracing)
    transport = httpx.ASGITransport(gate, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http, gate


def use(work: Use, **options: Any) -> None:
    async def run() -> None:
        async with client(**options) as (http, _):
            await work(http)

    asyncio.run(run())


class Service:
    """A service in this process, and ways to connect to it."""

    def __init__(
        self, port: int, server: Server, middleware: Middleware, connections: Connections, metrics: Metrics
    ) -> None:
        self.port, self.server, self.middleware = port, server, middleware
        self.connections, self.metrics = connections, metrics

    def open(self) -> list[BoundedProtocol]:
        """The server's side of the connections."""
        return cast("list[BoundedProtocol]", list(self.server.server_state.connections))

    def held(self) -> int:
        """Bytes in write buffers, which clients have not read."""
        return sum(one.transport.get_write_buffer_size() for one in self.open())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def all_of(self, sent: bytes) -> bytes:
        """Everything received until the service closes the connection."""
        reader, writer = await self.connect()
        writer.write(sent)
        try:
            return await asyncio.wait_for(reader.read(), 20)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def first_of(self, sent: bytes) -> tuple[int, bytes]:
        """Status and body of the first answer."""
        reader, writer = await self.connect()
        writer.write(sent)
        try:
            return await answer_of(reader)
        finally:
            writer.close()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    return int(head.split()[1]), await reader.readexactly(int(lines[b"content-length"]))


@asynccontextmanager
async def started(**limits: Any) -> AsyncIterator[Service]:
    settings, metrics = Settings.of(**limits), Metrics()
    models = ModelStore(make_service, make_service(), settings, metrics)
    middleware = make_app(models, settings, metrics)
    connections = Connections(settings, middleware.refused)
    middleware.connections = partial(len, connections)
    server = Server(middleware, models, connections, Hangup())
    bound = listen("127.0.0.1", 0)
    serving = asyncio.create_task(server.serve([bound]))
    while not server.started:
        await asyncio.sleep(0.001)
    try:
        yield Service(bound.getsockname()[1], server, middleware, connections, metrics)
    finally:
        server.should_exit = server.force_exit = True
        await serving
