"""Valid, hostile and damaged requests get a JSON answer in time and never a 500, and the service stays healthy.

The first test calls the application directly, thousands of times; the second sends bytes to a server process.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from tests.attack.damage import damaged
from tests.attack.inputs import Attack
from tests.serving.rest.conftest import NAMES, Running, save_directory, serving

from mclrec.inference.runtime import load_runtime
from mclrec.serving.rest.keys import Keys
from mclrec.serving.rest.middleware import Middleware
from mclrec.serving.rest.model_store import ModelStore
from mclrec.serving.rest.routes import make_app
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics

pytestmark = pytest.mark.attack

KEY = "a-key-of-enough-characters"
WHOLE = [2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), -1, 0, *range(7, 40)]
GOOD = {200, 401, 403, 404, 405, 408, 409, 413, 415, 421, 422, 503, 504}
SECONDS = 2.0
GROWTH = 60_000  # KiB
PATHS = (
    *(
        "/recommend",
        "/recommend/batch",
        "/explain",
        "/events",
        "/items",
        "/similar/",
        "/model",
        "/model/reload",
        "/metrics",
    ),
    *("/", "/health", "/ready", "/docs", "/openapi.json", "/page.js", "/nothing"),
)
STRANGE = (
    "",
    " ",
    "\x00",
    "\ud800",
    "é",
    "e\u0301",
    "ﷺ" * 60,
    "%",
    "../..",
    "item 0",
    "x" * 700,
    "٣",
    "007",
    "1e3",
    "NaN",
)


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> list[Middleware]:
    """Services with string ids and with integer ids, without and with API keys."""
    folder = tmp_path_factory.mktemp("requests")
    made = []
    for number, (names, keys) in enumerate([(NAMES, None), (WHOLE, None), (NAMES, Keys([KEY]))]):
        directory = save_directory(folder / str(number), names=names)
        settings, metrics = Settings.of(max_body=20_000, max_history=100, deadline=30), Metrics()
        models = ModelStore(partial(load_runtime, directory), load_runtime(directory), settings, metrics)
        made.append(make_app(models, settings, metrics, keys, keys))
    return made


@pytest.mark.attack(share=2)
def test_requests_to_the_application(attack: Attack, apps: list[Middleware]) -> None:
    async def run() -> None:
        for rng in attack.inputs():
            method, target, headers, body = request(rng)
            begun = time.monotonic()
            status, given, answer = await ask(
                apps[rng.integers(len(apps))], method, target, headers, body, rng
            )
            assert time.monotonic() - begun < 15, (method, target)
            assert status in GOOD, (status, method, target, headers, body[:300], answer[:300])
            assert given[b"x-request-id"]
            if status >= 400 and method != "HEAD":
                detail = json.loads(answer)["detail"]
                assert isinstance(detail, str)
                assert "\n" not in detail
                assert len(answer) < 8000
            elif given[b"content-type"] == b"application/json" and method != "HEAD":
                assert b"NaN" not in answer or b'"NaN"' in answer
                json.loads(answer)

    asyncio.run(run())


async def ask(
    app: Middleware,
    method: str,
    target: str,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    rng: np.random.Generator,
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Call the application as uvicorn does: the body in parts, and sometimes a client that disconnects."""
    path, _, query = target.partition("?")
    cuts = [0, *sorted(rng.integers(0, len(body) + 1, rng.integers(0, 4)).tolist()), len(body)]
    parts = [body[start:end] for start, end in pairwise(cuts)]
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]
    leaves = rng.random() < 0.05
    if leaves:
        messages = messages[: rng.integers(0, len(messages) + 1)]
    waiting = iter(messages)
    sent: list[Any] = []

    async def receive() -> Any:
        for message in waiting:
            return message
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.encode(errors="replace").decode(),
        "raw_path": quote(path, errors="replace").encode(),
        "query_string": query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": headers,
        "state": {},
    }
    await app(scope, receive, send)
    start = sent[0]
    content = b"".join(message.get("body", b"") for message in sent[1:])
    status = 200 if leaves and start["status"] == 499 else start["status"]
    return status, dict(start["headers"]), b"{}" if status != start["status"] else content


def request(rng: np.random.Generator) -> tuple[str, str, list[tuple[bytes, bytes]], bytes]:
    """A random request, any part of which may be wrong."""
    path = PATHS[rng.integers(6) if rng.random() < 0.6 else rng.integers(len(PATHS))]
    posts = path in PATHS[:4] or path == "/model/reload"
    method = (
        str(rng.choice(["GET", "POST", "HEAD", "PUT", "OPTIONS"]))
        if rng.random() < 0.1
        else ("GET", "POST")[posts]
    )
    if path == "/similar/":
        path += text(rng)
    if path in ("/items",) or rng.random() < 0.1:
        path += f"?q={quote(text(rng), errors='replace')}&limit={value(rng, 0)}&k={value(rng, 0)}"
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    for name, values in (
        (b"host", (b"evil.example", b"", b"[::1", b"\xff", b"127.0.0.1:x")),
        (b"content-type", (b"", b"text/plain", b"application/json; charset=utf-16", b"\xff")),
        (b"content-length", (b"-1", b"x", b"9" * 5000, b"0")),
        (b"authorization", (f"Bearer {KEY}".encode(), b"Bearer", b"\xff", b"Basic x")),
        (b"origin", (b"http://evil.example", b"null", b"", b"\xff")),
        (b"sec-fetch-site", (b"cross-site", b"same-origin", b"\xff")),
        (b"x-request-id", (b"abc", b"x" * 500, b"\xff\r", b"")),
    ):
        if rng.random() < 0.04:
            headers = [one for one in headers if one[0] != name or rng.random() < 0.1]
            headers.append((name, values[rng.integers(len(values))]))
    body = json.dumps(question(path, rng)).encode() if posts else b""
    return method, path, headers, damaged(body, rng) if rng.random() < 0.3 else body


def question(path: str, rng: np.random.Generator) -> object:
    """A random body that roughly fits the path."""
    if path == "/recommend/batch":
        return {"requests": [question("/recommend", rng) for _ in range(rng.integers(0, 5))]}
    body: dict[str, Any] = {"history": listed(rng)}
    if path == "/explain":
        body["items"] = listed(rng)
    if path == "/events":
        body = {"session": key(rng), "items": listed(rng)}
    elif rng.random() < 0.2:
        body["session"] = key(rng)
        if rng.random() < 0.5:
            del body["history"]
    rules = ("filter", "boost", "diversify")
    for name in ("k", "user", "exclude", "allow", "include_seen", "clear", "session", "other", *rules):
        if rng.random() < 0.05:
            body[name] = value(rng, 0)
    return body


def key(rng: np.random.Generator) -> str:
    return str(rng.integers(5)) if rng.random() < 0.8 else text(rng)


def listed(rng: np.random.Generator) -> list[Any]:
    return [value(rng, 3) if rng.random() < 0.01 else identity(rng) for _ in range(rng.integers(0, 12))]


def identity(rng: np.random.Generator) -> object:
    kind = rng.integers(4)
    if kind == 0:
        return WHOLE[rng.integers(len(WHOLE))]
    return NAMES[rng.integers(len(NAMES))] if kind < 3 else text(rng)


def text(rng: np.random.Generator) -> str:
    if rng.random() < 0.5:
        return STRANGE[rng.integers(len(STRANGE))]
    return "".join(
        map(chr, rng.choice([32, 45, 48, 49, 101, 105, 109, 116, 0xE9, 0x301], rng.integers(0, 40)))
    )


def value(rng: np.random.Generator, depth: int) -> Any:
    kinds: tuple[Any, ...] = (
        None,
        True,
        -1,
        0,
        1,
        5,
        200,
        2**64,
        1.5,
        "7",
        "x",
        [],
        {},
        ["item 01"],
        [[]],
        "9" * 5000,
    )
    return kinds[rng.integers(len(kinds) if depth == 0 else 11)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("bytes")
    with serving(save_directory(folder / "run"), folder, "--timeout", "1") as running:
        yield running
        assert running.process.poll() is None
        assert not [line for line in running.lines() if '"error"' in line]


@pytest.mark.attack(share=2)
def test_bytes_to_a_process(attack: Attack, service: Running) -> None:
    before = None
    with httpx.Client(base_url=service.url, timeout=20) as http:
        for rng in attack.inputs():
            sent = stream(rng)
            received = exchange(service, sent, rng)
            if received:
                assert received.startswith(b"HTTP/1.1 "), received[:100]
                status = int(received.split()[1])
                assert status in GOOD | {100, 400, 431}, (status, sent[:500])
            if attack.number % 20 == 0:
                begun = time.monotonic()
                assert http.get("/health").status_code == 200
                assert time.monotonic() - begun < SECONDS
            if attack.number == 300:
                before = resident(service)
    if before is not None:
        assert resident(service) - before < GROWTH


def stream(rng: np.random.Generator) -> bytes:
    """Bytes of one to three requests, often damaged as a whole."""
    whole = b""
    for _ in range(rng.integers(1, 4)):
        method, target, headers, body = request(rng)
        lines = [
            method.encode() + b" " + quote(target, safe="/?&=%", errors="replace").encode() + b" HTTP/1.1"
        ]
        lines += [name + b": " + content for name, content in headers]
        if rng.random() < 0.1:
            lines += [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"]
        if rng.random() < 0.2:
            lines.append(b"Transfer-Encoding: chunked")
            body = (
                b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:]) if part)
                + b"0\r\n\r\n"
            )
        elif body and rng.random() < 0.9:
            lines.append(b"Content-Length: %d" % len(body))
        whole += b"\r\n".join([*lines, b"", b""]) + body
    return damaged(whole, rng) if rng.random() < 0.7 else whole


def exchange(service: Running, sent: bytes, rng: np.random.Generator) -> bytes:
    """Send bytes in pieces and return what is received before a timeout of 0.1 s."""
    received = b""
    with suppress(OSError), socket.create_connection(service.address, timeout=20) as connection:
        for start in range(0, len(sent), step := int(rng.choice([1 << 20, 1000, 200]))):
            connection.sendall(sent[start : start + step])
        if rng.random() < 0.2:
            return b""  # the client disconnects
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(0.1)
        while part := connection.recv(65_536):
            received += part
    return received


def resident(running: Running) -> int:
    """Resident memory of the process in KiB."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
