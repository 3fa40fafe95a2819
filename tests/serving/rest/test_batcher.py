"""The micro-batcher: every query gets its own answer, whichever are batched together, expire or are cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.serving.rest.batcher import Batcher, Expired, QueueFull


def query(number: int) -> DenseQuery:
    return DenseQuery(np.array([number]), 1)


class Model:
    """A model that returns the history, fails on 13, and waits for its gate."""

    def __init__(self) -> None:
        self.gate = Event()
        self.gate.set()
        self.asked: list[list[int]] = []

    def __call__(self, queries: Sequence[DenseQuery]) -> list[Ranked]:
        self.gate.wait(10)
        numbers = [int(one.history[0]) for one in queries]
        self.asked.append(numbers)
        if 13 in numbers:
            raise RuntimeError("unlucky")
        return [Ranked(one.history, np.zeros(1, dtype=np.float32)) for one in queries]


def make(model: Model, size: int = 4, room: int = 100, workers: int = 1) -> Batcher:
    return Batcher(model, size=size, room=room, workers=workers, observe=lambda _: None)


def numbers(answers: Sequence[Ranked]) -> list[int]:
    return [int(answer.items[0]) for answer in answers]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=30),
    st.integers(1, 7),
    st.integers(1, 3),
)
def test_each_gets_its_own_answer(requests: list[tuple[int, bool]], size: int, workers: int) -> None:
    """Requests hold several queries each, and some requests are cancelled at once."""

    async def run() -> None:
        model = Model()
        batcher = make(model, size, room=1000, workers=workers)
        tasks, wanted, next_number = [], [], 100
        for count, _ in requests:
            wanted.append(list(range(next_number, next_number + count)))
            next_number += count
            tasks.append(asyncio.create_task(batcher.ask([query(n) for n in wanted[-1]], 20)))
        await asyncio.sleep(0)
        for task, (_, cancelled) in zip(tasks, requests, strict=True):
            if cancelled:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result, expected, (_, cancelled) in zip(results, wanted, requests, strict=True):
            if cancelled:
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert not isinstance(result, BaseException)
                assert numbers(result.answers) == expected
        assert all(len(batch) <= size for batch in model.asked)
        assert batcher.waiting == 0
        asked = [number for batch in model.asked for number in batch]
        assert len(asked) == len(set(asked))

    asyncio.run(run())


def test_an_idle_model_answers_at_once_and_a_busy_one_gathers() -> None:
    async def run() -> None:
        model = Model()
        batcher = make(model)
        assert (await batcher.ask([query(1)], 10)).batch == 1
        model.gate.clear()
        first = asyncio.create_task(batcher.ask([query(2)], 10))
        await settle()
        rest = [asyncio.create_task(batcher.ask([query(n)], 10)) for n in range(3, 9)]
        await settle()
        assert batcher.waiting == 6
        model.gate.set()
        await asyncio.gather(first, *rest)
        assert model.asked == [[1], [2], [3, 4, 5, 6], [7, 8]]

    asyncio.run(run())


def test_the_seconds_of_the_model_are_those_of_all_batches_of_a_request() -> None:
    def slowly(queries: Sequence[DenseQuery]) -> list[Ranked]:
        Event().wait(0.01)
        return [Ranked(one.history, np.zeros(1, dtype=np.float32)) for one in queries]

    async def run() -> None:
        batcher = Batcher(slowly, size=2, room=10, workers=1, observe=lambda size: None)
        found = await batcher.ask([query(n) for n in range(5)], 10)
        assert found.batch == 2
        assert 0.03 <= found.seconds < 5
        one = await batcher.ask([query(1)], 10)
        assert 0.01 <= one.seconds < found.seconds

    asyncio.run(run())


def test_a_full_queue_refuses_at_once() -> None:
    async def run() -> None:
        model = Model()
        model.gate.clear()
        batcher = make(model, size=1, room=2)
        tasks = [asyncio.create_task(batcher.ask([query(1)], 10))]
        await settle()  # the model is computing this one
        tasks += [asyncio.create_task(batcher.ask([query(n)], 10)) for n in (2, 3)]
        await settle()
        with pytest.raises(QueueFull):
            await batcher.ask([query(4)], 10)
        model.gate.set()
        assert [numbers(found.answers) for found in await asyncio.gather(*tasks)] == [[1], [2], [3]]
        assert (await batcher.ask([query(5)], 10)).batch == 1

    asyncio.run(run())


def test_what_has_expired_or_was_cancelled_never_reaches_the_model() -> None:
    async def run() -> None:
        model = Model()
        model.gate.clear()
        batcher = make(model)
        first = asyncio.create_task(batcher.ask([query(1)], 10))
        await settle()
        gone = asyncio.create_task(batcher.ask([query(2)], 10))
        kept = asyncio.create_task(batcher.ask([query(3)], 10))
        await settle()
        with pytest.raises(Expired):
            await batcher.ask([query(4)], 0.001)
        gone.cancel()
        await settle()
        model.gate.set()
        await asyncio.gather(first, kept)
        assert model.asked == [[1], [3]]

    asyncio.run(run())


def test_one_that_fails_does_not_spoil_the_others() -> None:
    async def run() -> None:
        model = Model()
        model.gate.clear()
        batcher = make(model)
        tasks = [asyncio.create_task(batcher.ask([query(n)], 10)) for n in (1, 12, 13, 14)]
        await settle()
        model.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[2], RuntimeError)
        good = [result for result in results if not isinstance(result, BaseException)]
        assert [numbers(found.answers) for found in good] == [[1], [12], [14]]

    asyncio.run(run())


def test_its_threads_end_when_nobody_has_it_any_more() -> None:
    async def run() -> None:
        others = set(threading.enumerate())
        batcher = make(Model(), size=1)
        await batcher.ask([query(1)], 10)
        [thread] = set(threading.enumerate()) - others
        del batcher
        thread.join(10)
        assert not thread.is_alive()

    asyncio.run(run())
