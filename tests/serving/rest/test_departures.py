"""Work is cancelled when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from fastapi import HTTPException

from mclrec.serving.rest.departures import LEFT, while_attended


async def never() -> Any:
    return await asyncio.get_running_loop().create_future()


async def gone() -> Any:
    return {"type": "http.disconnect"}


async def broken() -> Any:
    raise RuntimeError("the connection is broken")


def test_the_result_or_the_failure_of_the_work() -> None:
    async def late() -> int:
        await asyncio.sleep(0.001)
        return 3

    async def run() -> None:
        assert await while_attended(never, late()) == 3
        with pytest.raises(RuntimeError, match="is broken"):
            await while_attended(never, broken())
        assert len(asyncio.all_tasks()) == 1 or await _settled()

    asyncio.run(run())


async def _settled() -> bool:
    """Whether no task that waits for a disconnect is left."""
    await asyncio.sleep(0)
    return len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("receive", [gone, broken])
def test_a_client_that_goes_away_cancels_the_work(receive: Any) -> None:
    cancelled = []

    async def work() -> None:
        try:
            await never()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def run() -> None:
        with pytest.raises(HTTPException) as left:
            await while_attended(receive, work())
        assert left.value.status_code == LEFT
        await asyncio.sleep(0)  # no cancellation is left pending
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    asyncio.run(run())
    assert cancelled == [True]


def test_work_that_ends_all_the_same_has_a_result() -> None:
    async def stubborn() -> int:
        try:
            await never()
        except asyncio.CancelledError:
            return 3
        return 0

    async def run() -> None:
        assert await while_attended(gone, stubborn()) == 3
        await asyncio.sleep(0)

    asyncio.run(run())


@pytest.mark.parametrize("receive", [never, gone])
def test_cancelling_from_without_stays_cancelling(receive: Any) -> None:
    async def run() -> None:
        task = asyncio.ensure_future(_of(while_attended(receive, never())))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


async def _of(work: Awaitable[Any]) -> Any:
    return await work


def test_a_client_that_leaves_as_the_work_ends_cancels_nothing() -> None:
    async def run() -> str:
        loop = asyncio.get_running_loop()
        departure: asyncio.Future[None] = loop.create_future()
        work: asyncio.Future[str] = loop.create_future()

        async def receive() -> Any:
            await departure
            return {"type": "http.disconnect"}

        async def request() -> str:
            answer = await while_attended(receive, work)
            for _ in range(3):
                await asyncio.sleep(0)  # sends its answer
            return answer

        task = asyncio.ensure_future(request())
        for _ in range(3):
            await asyncio.sleep(0)
        departure.set_result(None)
        work.set_result("answer")
        return await task

    assert asyncio.run(run()) == "answer"
