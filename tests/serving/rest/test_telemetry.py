"""The log: which lines are written, and when."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from mclrec.serving.rest.telemetry import configure_logs, log_event, log_request


class Counted(io.StringIO):
    """A stream that counts writes, and can behave like a full disk."""

    calls, full = 0, False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        self.calls += 1
        return super().write(text)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture(autouse=True)
def _no_logs_later() -> Iterator[None]:
    yield
    logging.getLogger("mclrec.serving").handlers.clear()


def logged() -> Counted:
    """Configure a log that records what the service's handler writes; pytest adds a handler of its own to each test."""
    stream = Counted()
    configure_logs(stream)
    return stream


def test_requests_of_one_turn_of_the_loop_are_written_at_once() -> None:
    log = logged()

    async def run() -> None:
        for number in range(5):
            log_request({"route": "/recommend", "number": number, "name": "ü"})
        assert log.calls == 0
        await asyncio.sleep(0)
        assert log.calls == 1

    asyncio.run(run())
    assert [line["number"] for line in log.lines()] == list(range(5))
    first = log.lines()[0]
    assert list(first) == ["time", "level", "event", "route", "number", "name"]
    assert (first["level"], first["event"], first["name"]) == ("info", "request", "ü")


def test_events_come_after_the_requests_before_them() -> None:
    log = logged()

    async def run() -> None:
        log_request({"number": 1})
        log_event("reloaded", {"number": 2})
        assert [line["number"] for line in log.lines()] == [1, 2]
        log_request({"number": 3})

    asyncio.run(run())
    assert [line["number"] for line in log.lines()] == [1, 2, 3]


def test_what_waits_is_written_when_the_process_ends() -> None:
    log = logged()

    async def run() -> None:
        log_request({"number": 1})
        logging.getLogger("mclrec.serving").handlers[0].flush()  # as `logging.shutdown` does
        assert len(log.lines()) == 1

    asyncio.run(run())


def test_a_log_that_cannot_be_written_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    log = logged()

    async def run() -> None:
        log.full = True
        log_request({"number": 1})
        await asyncio.sleep(0)
        log_event("reloaded", {"number": 2})
        log.full = False
        log_request({"number": 3})

    asyncio.run(run())
    assert [line["number"] for line in log.lines()] == [3]
    assert "Traceback" in capsys.readouterr().err  # printed by the logging module for the event


def test_other_handlers_of_the_logger_get_requests_too(caplog: pytest.LogCaptureFixture) -> None:
    log = logged()
    logger = logging.getLogger("mclrec.serving")
    logger.addHandler(caplog.handler)

    async def run() -> None:
        log_request({"number": 1})

    asyncio.run(run())
    logger.removeHandler(caplog.handler)
    assert [line["number"] for line in log.lines()] == [1]
    assert [record.getMessage() for record in caplog.records] == ["request"]
