"""Dynamic batching: queries that arrive while the model is busy are answered together.

There is no timer. An idle model answers at once; under load the queue fills while it computes, and the next batch is
larger. Batches thus grow with the load, and a single request is not delayed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import NamedTuple

from mclrec.inference.queries import DenseQuery, Ranked

__all__ = ["Answered", "Batcher", "Expired", "QueueFull"]

Ask = Callable[[Sequence[DenseQuery]], list[Ranked]]


class QueueFull(Exception):
    """The queue has no room for these queries."""


class Expired(Exception):
    """The deadline passed before the answer was ready."""


class Answered(NamedTuple):
    """Answers, with the size and the computing time of their batches.

    Attributes:
        answers: answers in the order of their queries.
        batch: size of the largest batch that any of them was in.
        seconds: computing time of these batches, including the queries of other requests.
    """

    answers: list[Ranked]
    batch: int
    seconds: float


@dataclass(slots=True, eq=False)
class _Batch:
    """Size and computing time of one batch."""

    size: int
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Entry:
    """Queries to be answered in the same batch, and the future of their answers; ``batch`` is None while queued."""

    queries: Sequence[DenseQuery]
    answers: asyncio.Future[list[Ranked]]
    batch: _Batch | None = None


class Batcher:
    """A queue in front of a model that computes in threads. It belongs to one event loop.

    It is never closed, as a request that holds it may still use it after another model has taken over. Its threads end
    when nothing refers to it any more.

    Args:
        ask: the model; called in a thread with at most ``size`` queries.
        size: maximum size of a batch.
        room: maximum number of waiting queries.
        workers: number of threads, each of which computes one batch at a time.
        observe: called with the size of each batch.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        size: int,
        room: int,
        workers: int,
        observe: Callable[[int], None],
    ) -> None:
        self._ask = ask
        self._size = size
        self._room = room
        self._idle = workers
        self._observe = observe
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="model")
        self._entries: deque[_Entry] = deque()
        self._waiting = 0
        self._woken = False

    @property
    def waiting(self) -> int:
        """Number of queries in the queue."""
        return self._waiting

    async def ask(self, queries: Sequence[DenseQuery], seconds: float) -> Answered:
        """Answer queries, in order.

        If the caller is cancelled, its queries are removed from the queue.

        Args:
            queries: any number; if they do not fit into one batch they are spread over several.
            seconds: time limit.

        Raises:
            QueueFull: the queue has no room, which is raised at once.
            Expired: after ``seconds``; queries that have not reached the model by then are dropped.
        """
        if self._waiting + len(queries) > self._room:
            raise QueueFull
        loop = asyncio.get_running_loop()
        entries = [
            _Entry(queries[start : start + self._size], loop.create_future())
            for start in range(0, len(queries), self._size)
        ]
        self._entries.extend(entries)
        self._waiting += len(queries)
        self._wake()
        timer = loop.call_later(seconds, _expire, entries)
        try:
            answers = [answer for entry in entries for answer in await entry.answers]
        finally:
            timer.cancel()
            for entry in entries:
                self._leave(entry)
        batches = {entry.batch for entry in entries if entry.batch is not None}
        return Answered(
            answers, max((one.size for one in batches), default=0), sum(one.seconds for one in batches)
        )

    def _leave(self, entry: _Entry) -> None:
        """Withdraw queries that nobody waits for any more, which frees their room in the queue."""
        if not entry.answers.cancel() and not entry.answers.cancelled():
            entry.answers.exception()  # marks it as retrieved, even if an earlier part failed first
        if entry.batch is None:
            self._entries.remove(entry)
            self._waiting -= len(entry.queries)

    def _wake(self) -> None:
        """Schedule a batch after the loop has handled the requests that are ready, so that it includes them."""
        if self._idle and not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._woken = False
        while self._idle and (taken := self._take()):
            self._idle -= 1
            batch = _Batch(sum(len(entry.queries) for entry in taken))
            for entry in taken:
                entry.batch = batch
            self._waiting -= batch.size
            self._observe(batch.size)
            done = self._threads.submit(_timed_answer, self._ask, [entry.queries for entry in taken])
            done.add_done_callback(partial(_call_in, asyncio.get_running_loop(), self._deliver, taken, batch))

    def _take(self) -> list[_Entry]:
        """The oldest entries that fit into one batch."""
        taken: list[_Entry] = []
        free = self._size
        while self._entries:
            entry = self._entries[0]
            if len(entry.queries) > free:
                break
            free -= len(entry.queries)
            taken.append(self._entries.popleft())
        return taken

    def _deliver(
        self,
        taken: Sequence[_Entry],
        batch: _Batch,
        done: Future[tuple[list[list[Ranked] | Exception], float]],
    ) -> None:
        self._idle += 1
        results, batch.seconds = done.result()
        for entry, result in zip(taken, results, strict=True):
            if entry.answers.done():
                continue
            if isinstance(result, Exception):
                entry.answers.set_exception(result)
            else:
                entry.answers.set_result(result)
        self._send()


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *given: object) -> None:
    """Call a function in a loop from a thread, unless the loop is closed and nobody waits any more."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(call, *given)


def _expire(entries: Sequence[_Entry]) -> None:
    """Fail the part that the caller is waiting for, which cancels the others too."""
    waited = next((entry for entry in entries if not entry.answers.done()), None)
    if waited is not None:
        waited.answers.set_exception(Expired())


def _timed_answer(
    ask: Ask, parts: Sequence[Sequence[DenseQuery]]
) -> tuple[list[list[Ranked] | Exception], float]:
    """`_answer` and its computing time in seconds."""
    start = perf_counter()
    return _answer(ask, parts), perf_counter() - start


def _answer(ask: Ask, parts: Sequence[Sequence[DenseQuery]]) -> list[list[Ranked] | Exception]:
    """Answer all parts at once; if that fails, each separately, so that one does not spoil the others' answers."""
    try:
        answers = iter(ask([query for part in parts for query in part]))
        return [[next(answers) for _ in part] for part in parts]
    except Exception as problem:
        if len(parts) == 1:
            return [problem]
        return [_answer(ask, [part])[0] for part in parts]
