"""A shop replayed from a log day by day: its log until a day, its service, and customers who query it all the time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import mclrec

__all__ = ["Customers", "Shop", "days", "free_port", "serving"]


class Shop:
    """The bundled complete-journey as a log that grows by a day at a time.

    Args:
        households: number of households in the log; all if None.
    """

    def __init__(self, households: int | None = None) -> None:
        data = mclrec.load("complete-journey")
        assert data.times is not None
        users, items = list(data.user_ids), list(data.item_ids)
        self._rows: list[tuple[int, Any, Any]] = []
        for user, start, stop in zip(users, data.offsets[:-1], data.offsets[1:], strict=True):
            if households is not None and users.index(user) >= households:
                break
            rows = zip(data.times[start:stop].tolist(), data.items[start:stop].tolist(), strict=True)
            self._rows += [(moment, user, items[item - 1]) for moment, item in rows]

    def log(self, path: Path, day: date, change: Mapping[int, Any] | None = None) -> Path:
        """Write the log until the end of a day as csv; ``change`` replaces items by row number."""
        end = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).timestamp()
        rows = [row for row in self._rows if row[0] < end]
        with path.open("w", encoding="utf-8") as file:
            file.write("user,item,time\n")
            for place, (moment, user, item) in enumerate(rows):
                name = str((change or {}).get(place, item)).replace('"', '""')
                file.write(f'{user},"{name}",{moment}\n')
        return path

    def items_until(self, day: date) -> list[Any]:
        """Items of the rows until the end of a day, in the order of the log."""
        end = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).timestamp()
        return [item for moment, _, item in self._rows if moment < end]


def days(first: date, count: int, step: int = 1) -> list[date]:
    """``count`` days, the first and then every ``step`` days."""
    return [first + timedelta(days=step * number) for number in range(count)]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(live: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `mclrec serve live`, with sessions in a file, until the block ends."""
    words = [sys.executable, "-m", "mclrec", "serve", str(live), "--port", str(port)]
    words += ["--sessions", str(live.parent / "sessions.sqlite"), "--deadline", "30"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, stdout=file, stderr=file, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        until = time.monotonic() + 120
        while not _ready(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the service does not come up: {log.read_text(encoding='utf-8')[-500:]}")
            time.sleep(0.1)
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Customers:
    """Customers who look at items and ask for recommendations, one after another, until the block ends.

    Attributes:
        statuses: number of answers by path and status.
        failed: requests without an answer, and answers with a wrong status or list length; has to stay empty.
        models: number of answers by the model that gave them.
        slowest: seconds of the slowest answer.
    """

    def __init__(self, port: int, histories: Sequence[Sequence[Any]], pause: float = 0.005) -> None:
        self._port, self._histories, self._pause = port, histories, pause
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.models: Counter[str] = Counter()
        self.failed: list[str] = []
        self.slowest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Customers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        number = 0
        while not self._over.wait(self._pause):
            history = list(self._histories[number % len(self._histories)])
            session = f"customer {number % 500}"
            self._ask(connection, "/events", {"session": session, "items": history[-1:]})
            body = {"session": session} if number % 2 else {"history": history[-20:]}
            answer = self._ask(connection, "/recommend", {**body, "k": 10})
            if answer is not None:
                self.models[answer["model"]] += 1
                if len(answer["items"]) != 10:
                    self.failed.append(f"a list of {len(answer['items'])} items")
            number += 1
        connection.close()

    def _ask(self, connection: HTTPConnection, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        began = time.perf_counter()
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            content, status = response.read(), response.status
        except (OSError, HTTPException) as problem:
            self.failed.append(f"{path}: {type(problem).__name__}: {problem}")
            with suppress(OSError):
                connection.close()
            return None
        self.slowest = max(self.slowest, time.perf_counter() - began)
        self.statuses[path, status] += 1
        if status != 200:
            self.failed.append(f"{path}: {status} {content[:200]!r}")
            return None
        found: dict[str, Any] = json.loads(content)
        return found
