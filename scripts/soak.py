"""An hour of mixed load on `mclrec serve`, with reloads, kills and a full disk in between: ``make soak``.

Clients send good and bad requests, leave in mid-request and send nonsense; meanwhile the model is replaced with good,
damaged and foreign ones, and the process is killed and terminated, once with a log that cannot be written. At the end,
figures are written to a file: requests by kind and status, wrong statuses, memory of the longest life, latencies.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
import numpy as np
import torch

from mclrec.data.vocabulary import Vocabulary
from mclrec.inference.exporter import export_onnx
from mclrec.models.sasrec import SASRec, SASRecConfig
from mclrec.models.storage import save_model

ITEMS, WIDTH, CLIENTS, PAUSE = 12_101, 64, 8, 0.1
READY_SECONDS, EVENT_SECONDS, SAMPLE_SECONDS = 120, 20, 10
LATER = {503, 504}
"""Statuses of a service that is overloaded or shutting down; counted, but never wrong."""

SHORT_LIVES, FULL_DISK = 0.2, 0.1
"""Shares of the time in which the process is repeatedly ended, and in which its log cannot be written."""


def item(number: int) -> str:
    return f"item {number:05d}"


def save(path: Path, seed: int, names: list[str]) -> Path:
    """Save a model with random weights, and its export."""
    torch.manual_seed(seed)
    model = SASRec(SASRecConfig.model_validate({"hidden_size": WIDTH}), len(names))
    counts = np.random.default_rng(seed).integers(1, 100, len(names) + 1)
    extra = {"data": {"name": "drawn"}, "seed": seed}
    save_model(path, name="sasrec", model=model, items=Vocabulary(names), counts=counts, extra=extra)
    export_onnx(path)
    return path


@dataclass
class Life:
    """One life of the service: a process, and its memory over time."""

    process: subprocess.Popen[bytes]
    began: float = field(default_factory=time.monotonic)
    answers: bool = False
    memory: list[tuple[float, int]] = field(default_factory=list)

    def sample(self) -> None:
        with suppress(OSError, StopIteration):
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
            kib = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
            self.memory.append((time.monotonic() - self.began, kib))


class Soak:
    """The load, the events, and their outcomes."""

    def __init__(self, folder: Path, seconds: float, port: int, seed: int) -> None:
        self.folder, self.seconds, self.port = folder, seconds, port
        self.rng = random.Random(seed)  # noqa: S311 - load, not a secret
        names = [item(number) for number in range(ITEMS)]
        self.good = [save(folder / f"good{one}", one, names) for one in (1, 2)]
        self.foreign = save(folder / "foreign", 3, [f"other {number}" for number in range(ITEMS)])
        self.damaged = shutil.copytree(self.good[0], folder / "damaged")
        encoder = self.damaged / "onnx" / "encoder.onnx"
        encoder.write_bytes(encoder.read_bytes()[:-100])
        self.model = folder / "model"
        self.point(self.good[0])
        self.lives: list[Life] = []
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.lost: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.events: Counter[str] = Counter()
        self.took: list[float] = []
        self.over = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def life(self) -> Life:
        return self.lives[-1]

    def point(self, target: Path) -> None:
        """Point the model's path to another directory, atomically."""
        link = self.folder / "next"
        link.unlink(missing_ok=True)
        link.symlink_to(target.name)
        link.replace(self.model)

    async def start(self, log: Path) -> None:
        """Begin a life, and wait until it is ready."""
        words = [sys.executable, "-m", "mclrec", "serve", str(self.model), "--port", str(self.port)]
        with log.open("ab") as file:
            stream: IO[bytes] = file
            process = subprocess.Popen([*words, "--deadline", "10"], stdout=stream, stderr=stream)  # noqa: S603
        self.lives.append(Life(process))
        async with httpx.AsyncClient(base_url=self.url) as http:
            for _ in range(READY_SECONDS * 10):
                with suppress(httpx.TransportError):
                    if (await http.get("/ready")).status_code == 200:
                        self.life.answers = True
                        return
                await asyncio.sleep(0.1)
        raise RuntimeError(f"mclrec serve does not start; see {log}")

    async def end(self, number: signal.Signals) -> None:
        """End the life with a signal; after SIGTERM its status must be 0."""
        self.life.answers = False
        self.life.process.send_signal(number)
        status = await asyncio.to_thread(self.life.process.wait, 60)
        self.events[number.name] += 1
        if number is signal.SIGTERM and status != 0:
            self.wrong.append(f"status {status} after SIGTERM")

    async def client(self, number: int) -> None:
        """Send one request after another until the soak is over."""
        rng = random.Random(number)  # noqa: S311
        while not self.over:
            async with httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False) as http:
                for _ in range(rng.randrange(1, 50)):
                    if self.over:
                        break
                    name, work, allowed = self.question(rng)
                    await self.ask(http, name, work, allowed)
                    await asyncio.sleep(rng.expovariate(1 / PAUSE))

    async def ask(
        self,
        http: httpx.AsyncClient,
        name: str,
        work: Callable[[httpx.AsyncClient], Awaitable[int]],
        allowed: set[int],
    ) -> None:
        """Send one request, and check the status."""
        life, answers, start = self.life, self.life.answers, time.monotonic()
        try:
            status = await work(http)
        except (httpx.TransportError, OSError) as problem:
            if answers and life is self.life and life.answers:
                self.wrong.append(f"{name}: lost in the middle of a life: {problem!r}")
            self.lost[name] += 1
            await asyncio.sleep(0.2)
            return
        self.statuses[name, status] += 1
        if name == "recommend":
            self.took.append(time.monotonic() - start)
        if status not in allowed | LATER:
            self.wrong.append(f"{name}: {status}")

    def question(
        self, rng: random.Random
    ) -> tuple[str, Callable[[httpx.AsyncClient], Awaitable[int]], set[int]]:
        """Draw the next request, with the statuses that are right."""
        history = [item(rng.randrange(ITEMS)) for _ in range(1 + int(rng.expovariate(0.15)))]
        known, text = item(rng.randrange(ITEMS)), str(rng.randrange(10_000))
        questions: list[tuple[int, str, Callable[[httpx.AsyncClient], Awaitable[int]], set[int]]] = [
            (60, "recommend", post("/recommend", {"history": history, "k": rng.randrange(1, 50)}), {200}),
            (5, "batch", post("/recommend/batch", {"requests": [{"history": history}] * 40}), {200}),
            (5, "explain", post("/explain", {"history": history, "items": [known]}), {200}),
            (10, "items", get("/items", q=text), {200}),
            (5, "similar", get(f"/similar/{known}"), {200}),
            (2, "page", get("/"), {200}),
            (2, "health", get("/health"), {200}),
            (2, "metrics", get("/metrics"), {200}),
            (2, "unknown item", get(f"/similar/{known}{text}"), {404}),
            (2, "unknown in explain", post("/explain", {"history": [], "items": [text]}), {422}),
            (2, "wrong value", post("/recommend", {"history": history, "k": -1}), {422}),
            (1, "wrong type", post("/recommend", "history", kind="text/plain"), {415}),
            (1, "too large", post("/recommend", {"history": ["x" * 500] * 2500}), {413}),
            (1, "other site", post("/model/reload", {}, origin="http://evil.example"), {403}),
            (1, "other name", get("/model", host="evil.example"), {421}),
            (2, "leaves", self.leave, {0}),
            (1, "nonsense", self.talk_nonsense, {400}),
        ]
        [chosen] = rng.choices(questions, [weight for weight, *_ in questions])
        return chosen[1:]

    async def leave(self, _http: httpx.AsyncClient) -> int:
        """Disconnect in the middle of a request's body."""
        _reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: 50\r\n\r\n{")
        await writer.drain()
        writer.close()
        return 0

    async def talk_nonsense(self, _: httpx.AsyncClient) -> int:
        """Send something that is not HTTP."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"nonsense\r\n\r\n")
        head = await reader.readline()
        writer.close()
        if not head:
            raise ConnectionResetError
        return int(head.split()[1])

    async def exchange(self) -> None:
        """Replace the model with a good, a damaged or a foreign one, and reload it by HTTP or by a signal."""
        outcomes = [(self.good[0], 200), (self.good[1], 200), (self.damaged, 409), (self.foreign, 409)]
        target, status = self.rng.choice(outcomes)
        self.point(target)
        async with httpx.AsyncClient(base_url=self.url, timeout=120, trust_env=False) as http:
            before = (await http.get("/model")).json()["version"]
            if self.rng.random() < 0.3:
                self.life.process.send_signal(signal.SIGHUP)
                self.events["SIGHUP"] += 1
                await asyncio.sleep(3)
            else:
                found = (await http.post("/model/reload")).status_code
                self.events[f"reload {found}"] += 1
                if found != status:
                    self.wrong.append(f"reload of {target.name}: {found}")
            after = (await http.get("/model")).json()["version"]
            if status != 200 and after != before:
                self.wrong.append(f"{target.name} took over")
        self.point(self.rng.choice(self.good))  # what a restart reads

    async def short_lives(self, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(EVENT_SECONDS)
            await self.exchange()
            await self.end(self.rng.choice([signal.SIGKILL, signal.SIGTERM]))
            await self.start(self.folder / "log")

    async def long_life(self, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(EVENT_SECONDS)
            await self.exchange()

    async def sampled(self) -> None:
        while not self.over:
            self.life.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def run(self) -> None:
        """Run all phases one after another, under load."""
        began = time.monotonic()
        await self.start(self.folder / "log")
        others = [asyncio.create_task(self.client(number)) for number in range(CLIENTS)]
        others.append(asyncio.create_task(self.sampled()))
        await self.short_lives(began + SHORT_LIVES * self.seconds)
        await self.end(signal.SIGKILL)
        await self.start(Path("/dev/full"))
        self.events["full disk"] += 1
        await self.long_life(began + (SHORT_LIVES + FULL_DISK) * self.seconds)
        await self.end(signal.SIGTERM)
        await self.start(self.folder / "log")
        await self.long_life(began + self.seconds)
        self.over = True
        await asyncio.gather(*others)
        await self.end(signal.SIGTERM)

    def figures(self) -> dict[str, Any]:
        """The figures that are written at the end."""
        longest = max(self.lives, key=lambda life: len(life.memory))
        memory = np.array([kib for _, kib in longest.memory], dtype=float) / 1024
        quarter = max(1, len(memory) // 4)
        errors = sum('"error"' in line for line in (self.folder / "log").read_text().splitlines())
        return {
            "seconds": self.seconds,
            "requests": sum(self.statuses.values()),
            "statuses": {
                f"{name} {status}": count for (name, status), count in sorted(self.statuses.items())
            },
            "wrong": self.wrong,
            "errors in the log": errors,
            "lost when a process ended": dict(self.lost),
            "events": dict(self.events),
            "lives": len(self.lives),
            "longest life": {
                "minutes": round(longest.memory[-1][0] / 60, 1),
                "MiB, second quarter": round(float(np.median(memory[quarter : 2 * quarter + 1])), 1),
                "MiB, last quarter": round(float(np.median(memory[-quarter:])), 1),
                "MiB, most": round(float(memory.max()), 1),
            },
            "recommend ms": {
                name: round(1000 * float(np.quantile(self.took, share)), 1)
                for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
            },
        }


def post(
    path: str, body: object, kind: str = "application/json", origin: str | None = None
) -> Callable[[httpx.AsyncClient], Awaitable[int]]:
    headers = {"Content-Type": kind} | ({"Origin": origin} if origin else {})

    async def ask(http: httpx.AsyncClient) -> int:
        return (await http.post(path, content=json.dumps(body), headers=headers)).status_code

    return ask


def get(path: str, host: str | None = None, **query: str) -> Callable[[httpx.AsyncClient], Awaitable[int]]:
    async def ask(http: httpx.AsyncClient) -> int:
        headers = {"Host": host} if host else {}
        return (await http.get(path, params=query or None, headers=headers)).status_code

    return ask


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--folder", type=Path, required=True, help="for models, log and figures; emptied first"
    )
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--port", type=int, default=8432)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    soak = Soak(given.folder, given.seconds, given.port, given.seed)
    try:
        asyncio.run(soak.run())
    finally:
        if soak.lives:
            soak.life.process.kill()
    figures = soak.figures()
    (given.folder / "soak.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    return 1 if soak.wrong or figures["errors in the log"] else 0


if __name__ == "__main__":
    sys.exit(main())
