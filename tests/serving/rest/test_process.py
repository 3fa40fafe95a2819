"""`mclrec serve` as a process: signals and reloads under load, slow clients, and errors at startup."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path

import httpx
import pytest
from tests.serving.rest.conftest import NAMES, Running, save_directory, serving, start, until

from mclrec.cli import main

CLIENTS = 8
RELOADS = 3


class Load:
    """Clients that send requests in a loop, each until it gets 503 or the connection is refused."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.statuses: list[int] = []
        self.models: set[str] = set()
        self.lost: list[str] = []
        self.stopped = False

    async def run(self, work: asyncio.Task[None]) -> None:
        clients = [asyncio.create_task(self._client(number)) for number in range(CLIENTS)]
        await work
        self.stopped = True
        await asyncio.gather(*clients)

    async def _client(self, number: int) -> None:
        asked = 0
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as http:
            while not self.stopped:
                asked += 1
                history = [NAMES[(number + asked * step) % len(NAMES)] for step in range(1, 2 + asked % 9)]
                try:
                    answer = await http.post("/recommend", json={"history": history, "k": 3})
                except httpx.ConnectError:
                    return
                except httpx.TransportError as problem:
                    self.lost.append(repr(problem))
                    return
                self.statuses.append(answer.status_code)
                if answer.status_code == 503:
                    assert answer.headers["retry-after"]
                    return
                assert len(answer.json()["items"]) == 3
                self.models.add(answer.json()["model"])

    async def until_answers(self, count: int) -> None:
        wanted = len(self.statuses) + count
        while len(self.statuses) < wanted:
            await asyncio.sleep(0.01)


@pytest.mark.slow
def test_the_end_and_reloads_under_load_lose_no_request(model_directory: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(model_directory, tmp_path / "run")
    with serving(directory, tmp_path, "--drain", "0.5", "--deadline", "10") as running:
        load = Load(running.url)

        async def work() -> None:
            async with httpx.AsyncClient(base_url=running.url, timeout=30) as http:
                await load.until_answers(20)
                for seed in range(2, 2 + RELOADS):
                    save_directory(directory, seed)
                    assert (await http.post("/model/reload")).status_code == 200
                    await load.until_answers(20)
                (directory / "model.safetensors").write_bytes(b"damaged")
                refused = await http.post("/model/reload")
                assert refused.status_code == 409
                assert "model.safetensors" in refused.json()["detail"]
                save_directory(directory, seed=99)
                known = len(load.models)
                running.process.send_signal(signal.SIGHUP)
                while len(load.models) == known:
                    await load.until_answers(1)
            running.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(running.process.wait, 60)

        async def run() -> None:
            await load.run(asyncio.create_task(work()))

        asyncio.run(run())
        assert running.process.returncode == 0
        assert load.lost == []
        assert set(load.statuses) <= {200, 503}
        assert len(load.models) == RELOADS + 2
        events = [json.loads(line)["event"] for line in running.lines()]
        assert events.count("reloaded") == RELOADS + 1
        assert "draining" in events


@pytest.mark.slow
def test_a_second_signal_ends_at_once(model_directory: Path, tmp_path: Path) -> None:
    with serving(model_directory, tmp_path, "--drain", "600") as running:
        running.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{running.url}/ready").status_code == 503)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0


@pytest.mark.slow
def test_hangups_while_loading_are_done_afterwards(model_directory: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    process = start(model_directory, log, "--port", "0", notify=tmp_path / "notify")
    try:
        until(lambda: _catches_hangups(process.pid))
        for _ in range(5):
            process.send_signal(signal.SIGHUP)
        told.settimeout(60)
        assert told.recv(100) == b"READY=1"
        until(lambda: '"reloaded"' in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert told.recv(100) == b"STOPPING=1"
        assert process.wait(20) == 0
    finally:
        process.kill()
        told.close()


def _catches_hangups(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << signal.SIGHUP - 1)


@pytest.mark.slow
def test_slow_clients_are_sent_away(model_directory: Path, tmp_path: Path) -> None:
    with serving(model_directory, tmp_path, "--timeout", "0.3") as running:
        head = "POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for sent, status in (
            ("", b""),
            ("GET /health HT", b"408"),
            (head, b"408"),
            (head + 'Content-Length: 50\r\n\r\n{"history"', b"408"),
            (head + 'Transfer-Encoding: chunked\r\n\r\n5\r\n{"his\r\n', b"408"),
        ):
            assert status in _answer(running, sent.encode()), sent
        assert httpx.get(f"{running.url}/health").status_code == 200


def _answer(running: Running, sent: bytes) -> bytes:
    """Everything received until the service closes the connection."""
    port = int(running.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(sent)
        received = b""
        while part := connection.recv(4096):
            received += part
        return received


def _damage(directory: Path, what: str) -> None:
    file = directory / {"foreign": "config.json", "config": "config.json"}.get(what, "model.safetensors")
    if what == "missing":
        shutil.rmtree(directory)
    elif what == "foreign":
        for part in directory.iterdir():
            part.unlink()
        (directory / "pytorch_model.bin").write_bytes(b"x")
    elif what == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif what == "damaged":
        file.write_bytes(bytes(reversed(file.read_bytes())))
    else:
        file.write_text('{"format": 1, "model": ')


@pytest.mark.parametrize("what", ["missing", "foreign", "truncated", "damaged", "config"])
def test_a_directory_that_is_no_model_is_refused_in_one_line(
    model_directory: Path, tmp_path: Path, what: str
) -> None:
    directory = shutil.copytree(model_directory, tmp_path / "run")
    _damage(directory, what)
    _assert_refused(directory, "--port", "0", reason=str(directory))


def test_an_occupied_port_is_refused_in_one_line(model_directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        _assert_refused(model_directory, "--port", port, reason="give another --port")


def test_limits_and_keys_are_checked_at_the_start(model_directory: Path, tmp_path: Path) -> None:
    _assert_refused(model_directory, "--max-queue", "5", reason="--max-queue 5 is too short")
    keys = tmp_path / "keys"
    keys.write_text("# none\n")
    _assert_refused(model_directory, "--api-key-file", str(keys), reason="no keys")


def _assert_refused(directory: Path, *options: str, reason: str) -> None:
    message = io.StringIO()
    with redirect_stderr(message), pytest.raises(SystemExit) as left:
        main(["serve", str(directory), *options])
    assert left.value.code == 2
    lines = message.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert reason in lines[0]


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['fastapi'] = None\nfrom mclrec.cli import main\nmain(['serve', 'x'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "mclrec[serve]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1
