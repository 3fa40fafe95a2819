"""Limits per connection, on real sockets: request heads, pipelines, unread answers and idle connections."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import pytest
import uvloop
from tests.serving.rest.conftest import Service, answer_of, started

from mclrec.serving.rest.connection_limits import SPARE_CONNECTIONS, BoundedProtocol

Talk = Callable[["Service"], Awaitable[None]]
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
ASK = b'{"history": ["item 01"], "k": 1}'
GET_CLOSE = GET.replace(b"Host", b"Connection: close\r\nHost")
PAGE = b"GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = (
    b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def post(headers: bytes = b"") -> bytes:
    head = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + headers + b"Content-Length: %d\r\n\r\n%b" % (len(ASK), ASK)


def use(talk: Talk, **limits: Any) -> None:
    async def run() -> None:
        async with started(**limits) as service:
            await talk(service)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the service's event loop
        runner.run(run())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: x\r\n" * 6000, 431),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (CHUNKED + b"5\r\n{....\r\nno length\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    ],
)
def test_what_is_refused_by_the_server_itself(sent: bytes, status: int) -> None:
    async def talk(service: Service) -> None:
        received = await service.all_of(sent)
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"content-type: application/json" in head
        assert json.loads(body)["detail"]
        assert f'route="none",status="{status}"}} 1.0' in service.metrics.text().decode()

    use(talk)


def test_what_follows_a_body_is_a_head_too() -> None:
    async def talk(service: Service) -> None:
        reader, writer = await service.connect()
        writer.write(CHUNKED + b"0\r\nX: ")
        await asyncio.sleep(0.05)
        writer.write(b"x" * 20_000)
        assert (await answer_of(reader))[0] == 431
        writer.close()

    use(talk)


def test_what_comes_after_a_good_request_does_not_spoil_its_answer() -> None:
    async def talk(service: Service) -> None:
        for bad in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000):
            received = await service.all_of(post() + bad)
            assert received.startswith(b"HTTP/1.1 200 ")
            assert received.count(b"HTTP/1.1") == 1

    use(talk)


def test_a_body_that_is_too_large_is_refused_in_words_while_it_is_sent() -> None:
    head = post().partition(b"Content-Length")[0] + b"Content-Length: %d\r\n\r\n"

    async def talk(service: Service) -> None:
        for length in (2_000_000, 100_000):
            reader, writer = await service.connect()
            writer.write(head % length)
            writer.write(b" " * length)
            assert (await answer_of(reader))[0] == 413
            writer.close()

    use(talk, max_body=1024)


def test_few_requests_wait_on_a_connection() -> None:
    async def talk(service: Service) -> None:
        received = await service.all_of(post() * 10 + GET_CLOSE)
        assert received.count(b"HTTP/1.1 200 ") == 11
        reader, writer = await service.connect()
        writer.write(post() * 2000)
        for _ in range(2000):
            assert (await answer_of(reader))[0] == 200
            assert all(len(one.pipeline) < 64 for one in service.open())
        writer.close()

    use(talk)


def test_a_client_that_reads_nothing_is_cut_off() -> None:
    async def talk(service: Service) -> None:
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            loop = asyncio.get_running_loop()
            with suppress(ConnectionResetError, BrokenPipeError):
                while True:
                    await loop.sock_sendall(client, PAGE * 10)
                    assert service.held() < 300_000
        assert len(service.connections) == 0

    use(talk, body_timeout=0.2)


def test_unread_answers_are_bounded_in_all() -> None:
    async def talk(service: Service) -> None:
        clients = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(20)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(PAGE * 16)
        while len(service.connections) == 20:
            await asyncio.sleep(0.01)
        for _ in range(20):
            assert service.held() <= 300_000  # max_unread, and one answer being written
            await asyncio.sleep(0.01)
        for client in clients:
            client.close()

    use(talk, max_unread=200_000)


def test_another_protocol_is_offered_in_vain() -> None:
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
    )
    chunked = CHUNKED.replace(b"Host:", offer + b"Host:") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(ASK), ASK)

    async def talk(service: Service) -> None:
        plain = await service.first_of(post())
        assert plain[0] == 200
        for sent in (post(offer), post(offer + b"X: y\r\n"), chunked):
            for step in (len(sent), 50, 7):
                reader, writer = await service.connect()
                for _ in range(2):  # the connection stays open
                    for start in range(0, len(sent), step):
                        writer.write(sent[start : start + step])
                        await asyncio.sleep(0)
                    assert await answer_of(reader) == plain
                writer.close()
        websocket = (
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert (await service.first_of(websocket))[0] == 200

    use(talk)


def test_idle_connections_make_room() -> None:
    async def talk(service: Service) -> None:
        idle = [await service.connect() for _ in range(60)]
        assert len(service.connections) == 5
        idle[-1][1].write(GET)
        assert (await answer_of(idle[-1][0]))[0] == 200
        assert (await service.first_of(post()))[0] == 200
        assert (await answer_of(idle[0][0]))[0] == 503
        for _, writer in idle:
            writer.close()

    use(talk, max_connections=5)


def test_where_all_connections_are_busy_health_is_answered() -> None:
    async def talk(service: Service) -> None:
        waiting = post()[:-1]  # the last byte of the body is missing
        busy = [await service.connect() for _ in range(3)]
        for _, writer in busy:
            writer.write(waiting)
        while (await service.first_of(post()))[0] != 503:
            await asyncio.sleep(0)
        for _ in range(2 * SPARE_CONNECTIONS):
            assert (await service.first_of(GET))[0] == 200
        busy += [await service.connect() for _ in range(SPARE_CONNECTIONS)]
        assert (await service.first_of(GET))[0] == 200
        for _, writer in busy:
            writer.close()

    use(talk, max_connections=3)


def test_blank_lines_keep_no_connection_open() -> None:
    async def talk(service: Service) -> None:
        reader, writer = await service.connect()
        writer.write(GET)
        await answer_of(reader)
        writer.write(b"\r\n")
        assert (await answer_of(reader))[0] == 408
        writer.close()

    use(talk, header_timeout=0.1)


class Calls:
    """A transport that only records calls."""

    def __init__(self) -> None:
        self.made: list[tuple[str, bytes]] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.made.append(("write", data))

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.made.append(("writelines", b"".join(parts)))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, _: str, default: object = None) -> object:
        return default

    def pause_reading(self) -> None: ...

    resume_reading = pause_reading


def test_head_and_body_of_an_answer_are_sent_together() -> None:
    async def talk(service: Service) -> None:
        transport = Calls()
        server, loop = service.server, asyncio.get_running_loop()
        protocol = BoundedProtocol(service.connections, server.config, server.server_state, {}, loop)
        protocol.connection_made(cast("asyncio.Transport", transport))
        for sent in (post() * 3, GET, GET.replace(b"GET", b"HEAD"), GET_CLOSE):
            transport.made.clear()
            protocol.data_received(sent)
            answers = sent.count(b"HTTP/1.1")
            while len(transport.made) < answers:
                await asyncio.sleep(0.001)
            kind = "write" if sent.startswith(b"HEAD") else "writelines"
            assert [call for call, _ in transport.made] == [kind] * answers
            assert all(data.startswith(b"HTTP/1.1 ") for _, data in transport.made)
        assert transport.closed
        protocol.connection_lost(None)

    use(talk)
