"""The thread pool is bounded, has deadlines, and never starts expired or cancelled work."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest

from mclrec.serving.rest.batcher import Expired, QueueFull
from mclrec.serving.rest.pool import WorkPool


def test_it_is_bounded_and_what_has_expired_never_begins() -> None:
    gate, begun = Event(), list[int]()

    def work(number: int) -> int:
        begun.append(number)
        gate.wait(20)
        return number

    async def run() -> None:
        pool = WorkPool(threads=1, room=2, name="test")
        first = asyncio.create_task(pool.run(20, work, 1))
        while not begun:
            await asyncio.sleep(0)
        with pytest.raises(Expired):
            await pool.run(0.01, work, 2)
        await asyncio.sleep(0)
        assert pool.held == 1
        third = asyncio.create_task(pool.run(20, work, 3))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await pool.run(20, work, 4)
        third.cancel()
        with pytest.raises(asyncio.CancelledError):
            await third
        gate.set()
        assert await first == 1
        assert await pool.run(20, work, 5) == 5

    asyncio.run(run())
    assert begun == [1, 5]


def test_work_that_fails_gives_its_place_back() -> None:
    def fail() -> None:
        raise LookupError

    async def run() -> None:
        pool = WorkPool(threads=1, room=1, name="test")
        for _ in range(3):
            with pytest.raises(LookupError):
                await pool.run(20, fail)
            await asyncio.sleep(0)

    asyncio.run(run())


def test_work_that_has_begun_keeps_its_place_when_its_time_is_up() -> None:
    gate, begun = Event(), Event()

    def work() -> None:
        begun.set()
        gate.wait(20)

    async def run() -> None:
        pool = WorkPool(threads=1, room=1, name="test")
        running = asyncio.create_task(pool.run(0.5, work))
        with pytest.raises(Expired):
            await running
        assert begun.is_set()
        with pytest.raises(QueueFull):
            await pool.run(1, work)
        gate.set()

    asyncio.run(run())
