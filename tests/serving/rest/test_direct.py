"""The shortcut for `POST /recommend` gives the same answers, logs and metrics as the framework alone."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
import uvloop
from fastapi import FastAPI
from tests.serving.rest.conftest import ITEMS, NAMES, Counting, make_service, started

from mclrec.serving.rest.direct import Direct
from mclrec.serving.rest.keys import Keys
from mclrec.serving.rest.middleware import Middleware
from mclrec.serving.rest.model_store import ModelStore
from mclrec.serving.rest.routes import make_app
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics, configure_logs

KEY = "a-key-of-enough-characters"
TITLES = ["", *(f"Title {number}" if number % 3 else "" for number in range(1, ITEMS + 1))]
LIMITS: dict[str, Any] = {"max_body": 2048, "max_history": 12, "max_list": 6, "max_k": 30, "deadline": 60}
TIMES = re.compile(r'"(time|ms)": ("[^"]*"|[0-9.]+)|"id": "[0-9a-f]{16}"')

Sent = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _no_logs_later() -> Iterator[None]:
    yield
    logging.getLogger("mclrec.serving").handlers.clear()


def service(direct: bool, engine: Counting | None = None, **options: Any) -> tuple[Middleware, Metrics]:
    """Make a service with the shortcut, or with the framework alone."""
    keys = options.pop("keys", None)
    settings, metrics = Settings.of(**LIMITS | options), Metrics()
    runtime = make_service(engine).with_titles(TITLES)
    app = make_app(ModelStore(make_service, runtime, settings, metrics), settings, metrics, keys)
    assert isinstance(app.app, Direct)
    assert isinstance(app.app.app, FastAPI)
    if not direct:
        app.app = app.app.app
    return app, metrics


async def answer(app: Middleware, scope: dict[str, Any], parts: Sequence[dict[str, Any]]) -> Sent:
    """Messages that the application sends; the client stays connected after sending its parts."""
    sent: Sent = []
    coming = iter(parts)

    async def receive() -> Any:
        return next(coming, None) or await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await app({**scope, "headers": list(scope["headers"])}, receive, send)
    return sent


def draw_ids(rng: random.Random, most: int) -> list[Any]:
    odd = ["", "ü", "x" * 513, 7, -(2**63), 2**63, 2**70, 1.0, True, None, ["item 01"], {}]
    return [rng.choice(NAMES) if rng.random() < 0.8 else rng.choice(odd) for _ in range(rng.randint(0, most))]


def draw_body(rng: random.Random) -> bytes:
    if rng.random() < 0.15:
        broken = [
            b"",
            b"{",
            b"null",
            b"[]",
            b'"history"',
            b"\xff\xfe",
            b"[" * 300,
            b'{"history": [NaN]}',
            b" " * 3000,
        ]
        return rng.choice([*broken, b'{"history": []}{}', b'{"history": [1], "history": ["item 02"]}'])
    asked: dict[str, Any] = {"history": draw_ids(rng, rng.choice([3, 12, 14]))}
    if rng.random() < 0.03:
        asked["history"] = [NAMES[12]] * 3  # the model fails
    optional: dict[str, Callable[[], Any]] = {
        "session": lambda: rng.choice(["a", "b", "", "x" * 129, 7, None]),
        "k": lambda: rng.choice([1, 3, 10, 30, 31, 0, -1, 2**70, 1.5, "3", None, True]),
        "user": lambda: rng.choice(["ann", "bob", "nobody", 7, None, 1.5, []]),
        "exclude": lambda: rng.choice([[], draw_ids(rng, 7), None, "item 01"]),
        "allow": lambda: rng.choice([[], draw_ids(rng, 7), None, {}]),
        "include_seen": lambda: rng.choice([True, False, None, 1, "true"]),
        "other": lambda: 1,
    }
    for name, draw in optional.items():
        if rng.random() < (0.02 if name == "other" else 0.25):
            asked[name] = draw()
    if rng.random() < 0.05:
        del asked["history"]
    return json.dumps(asked, ensure_ascii=rng.random() < 0.5).encode()


def draw_event(rng: random.Random) -> bytes:
    return json.dumps({"session": rng.choice("abc"), "items": draw_ids(rng, 3)}).encode()


def draw_headers(rng: random.Random, length: int) -> list[tuple[bytes, bytes]]:
    def some(name: bytes, usual: bytes | None, *others: bytes | None) -> list[tuple[bytes, bytes]]:
        value = usual if rng.random() < 0.85 else rng.choice(others)
        return [] if value is None else [(name, value)]

    types = [
        None,
        b"",
        b"text/plain",
        b"Application/JSON ; charset=utf-8",
        b"\xa0application/json",
        b"application/jsonx",
    ]
    given = [
        *some(b"host", b"localhost", None, b"127.0.0.1:8000", b"evil.example", b""),
        *some(b"content-type", b"application/json", *types),
        *some(b"content-length", b"%d" % length, None, b"99999999", b"x", b"-1"),
        *some(b"authorization", b"Bearer " + KEY.encode(), None, b"Bearer x", b"Basic eA=="),
        *some(b"x-request-id", b"abc-%d" % rng.randint(0, 99), None, b"a b", b"x" * 200),
        *some(b"origin", None, b"http://localhost", b"http://evil.example", b"null"),
        *some(b"sec-fetch-site", None, b"same-origin", b"cross-site"),
        *some(b"accept", b"*/*", b"text/html", None),
        *some(b"x-forwarded-for", None, b"1.2.3.4"),
    ]
    if rng.random() < 0.1:
        given.append(rng.choice(given) if given else (b"a", b"b"))
    rng.shuffle(given)
    return given


def draw_request(rng: random.Random) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A scope, and the messages of a body in random parts, sometimes with a disconnect before its end."""
    body = draw_body(rng)
    paths = [
        "/recommend/",
        "//recommend",
        "/Recommend",
        "/recommend/batch",
        "/health",
        "/ready",
        "/nothing",
        "/",
    ]
    path = "/recommend" if rng.random() < 0.85 else rng.choice(paths)
    if rng.random() < 0.05:
        path, body = "/events", draw_event(rng)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": rng.choice(["1.1", "1.1", "1.0"]),
        "method": "POST" if rng.random() < 0.9 else rng.choice(["GET", "HEAD", "OPTIONS", "PUT", "post"]),
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": rng.choice([b""] * 10 + [b"k=5", b"%ff"]),
        "root_path": "" if rng.random() < 0.95 else rng.choice(["/recommend", "/x"]),
        "headers": draw_headers(rng, len(body)),
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 8000),
    }
    cuts = sorted({0, *(rng.randint(0, len(body)) for _ in range(rng.choice([0, 0, 1, 4]))), len(body)})
    pieces = [body[start:end] for start, end in zip(cuts, [*cuts[1:], len(body)], strict=True)]
    parts: list[dict[str, Any]] = [{"type": "http.request", "body": one, "more_body": True} for one in pieces]
    if rng.random() < 0.05:
        return scope, [*parts[: rng.randint(0, len(parts))], {"type": "http.disconnect"}]
    parts[-1] = rng.choice(
        [{**parts[-1], "more_body": False}, {"type": "http.request", "body": parts[-1]["body"]}]
    )
    return scope, parts


def counted(metrics: Metrics) -> list[str]:
    """Lines of the metrics without durations and process metrics."""
    lines = metrics.text().decode().splitlines()
    return [
        one for one in lines if not re.match(r"(# .*)?(process_|mclrec_request_seconds_(sum|bucket))", one)
    ]


def events(log: io.StringIO) -> list[str]:
    """Lines of the log since the last call, without times, generated ids and tracebacks."""
    lines = [TIMES.sub("", line) for line in log.getvalue().splitlines()]
    log.seek(0)
    log.truncate()
    return [line.partition('"trace"')[0] for line in lines]


def run(work: Awaitable[None]) -> None:
    async def go() -> None:
        await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(go())


@pytest.mark.parametrize("seed", range(4))
def test_random_requests_are_answered_as_by_the_framework(seed: int) -> None:
    log = io.StringIO()
    configure_logs(log)
    rng = random.Random(seed)
    options: dict[str, Any] = {"log_histories": seed % 2 == 1}

    async def work() -> None:
        keys = Keys([KEY]) if seed >= 2 else None
        direct, told = service(True, keys=keys, **options)
        plain, told_plain = service(False, keys=keys, **options)
        statuses = set()
        for number in range(400):
            scope, parts = draw_request(rng)
            direct.draining = plain.draining = rng.random() < 0.02
            made = []
            for app in (direct, plain):
                sent = await answer(app, scope, parts)
                await asyncio.sleep(0)  # the log line is written
                made.append((masked(sent), events(log)))
            assert made[0] == made[1], (seed, number, scope, parts)
            statuses.add(made[0][0][0]["status"])
        assert counted(told) == counted(told_plain)
        assert statuses >= {200, 404, 405, 413, 415, 421, 422, 499, 500, 503}
        assert direct.in_flight == plain.in_flight == 0

    run(work())


def masked(sent: Sent) -> Sent:
    """Messages with generated request ids blanked."""
    names = {b"x-request-id"}
    for message in sent:
        if "headers" in message:
            pairs = message["headers"]
            message["headers"] = [
                (n, b"" if n in names and re.fullmatch(b"[0-9a-f]{16}", v) else v) for n, v in pairs
            ]
    return sent


@pytest.mark.parametrize(("limits", "status"), [({"deadline": 0.01}, 504), ({"max_queue": 13}, 503)])
def test_what_waits_too_long_or_has_no_room_is_refused_as_by_the_framework(
    limits: dict[str, Any], status: int
) -> None:
    async def statuses(direct: bool) -> list[Sent]:
        engine = Counting()
        app, _ = service(direct, engine, max_batch=1, **limits)
        engine.gate.clear()
        body = b'{"history": ["item 01"]}'
        scope, _ = draw_request(random.Random(0))
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"x-request-id", b"1")]
        scope |= {
            "headers": headers,
            "path": "/recommend",
            "method": "POST",
            "root_path": "",
            "query_string": b"",
        }
        parts = [{"type": "http.request", "body": body}]
        asked = [asyncio.create_task(answer(app, scope, parts)) for _ in range(40)]
        if status == 504:
            await asyncio.wait(asked)
        for _ in range(50):
            await asyncio.sleep(0)  # all requests are queued
        engine.gate.set()
        return await asyncio.gather(*asked)

    async def work() -> None:
        with_it, without = await statuses(True), await statuses(False)
        assert with_it == without
        assert status in {sent[0]["status"] for sent in with_it}

    run(work())


def test_what_comes_over_a_socket_is_the_same_byte_by_byte() -> None:
    host = b"Host: localhost\r\nX-Request-Id: 7\r\n"
    head = b"POST /recommend HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
    ask = b'{"history": ["item 01", "x"], "k": 2}'
    good = head + b"Content-Length: %d\r\n\r\n%b" % (len(ask), ask)
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(ask), ask)
    bad = head + b"Content-Length: 2\r\n\r\n{}"
    kept = b"GET /health HTTP/1.1\r\n" + host + b"\r\n"
    sent = [
        good + chunked + bad + kept + good.replace(b"Host", b"Connection: close\r\nHost"),
        good.replace(b"HTTP/1.1", b"HTTP/1.0"),
        good.replace(b"Host", b"Expect: 100-continue\r\nConnection: close\r\nHost"),
        good.replace(b"POST", b"HEAD").replace(b"Host", b"Connection: close\r\nHost"),
        head + b"Connection: close\r\nContent-Length: 99999999\r\n\r\n",
        bad.replace(b"application/json", b"text/plain").replace(b"Host", b"Connection: close\r\nHost"),
    ]
    received: dict[bool, list[bytes]] = {}

    async def talk(direct: bool) -> None:
        async with started() as service:
            if not direct:
                service.middleware.app = service.middleware.app.app  # type: ignore[attr-defined]
            received[direct] = [re.sub(rb"date: .*", b"", await service.all_of(one)) for one in sent]

    for direct in (True, False):
        run(talk(direct))
    assert received[True] == received[False]
    assert [one.count(b"HTTP/1.") for one in received[True]] == [5, 1, 2, 1, 1, 1]
