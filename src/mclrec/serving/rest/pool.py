"""Bounded thread pool with deadlines, for work that may take longer than a millisecond and is not a model's batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from mclrec.serving.rest.batcher import Expired, QueueFull

__all__ = ["WorkPool"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class WorkPool:
    """A few threads with a bounded queue. It belongs to one event loop.

    Args:
        threads: number of threads.
        room: maximum number of tasks running or waiting.
        name: prefix of the threads' names.
    """

    def __init__(self, threads: int, room: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._room = room
        self._held = 0

    @property
    def held(self) -> int:
        """Number of tasks running or waiting."""
        return self._held

    async def run(self, seconds: float, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run ``work`` in a thread and return its result.

        Work that has not begun when the time is up, or when the caller is cancelled, is dropped; work that has begun
        occupies its place until it is done.

        Args:
            seconds: time limit.
            work: the function.
            args: its positional arguments.
            kwargs: its keyword arguments.

        Raises:
            QueueFull: there is no room, which is raised at once.
            Expired: after ``seconds``.
        """
        if self._held >= self._room:
            raise QueueFull
        loop = asyncio.get_running_loop()
        done = self._threads.submit(work, *args, **kwargs)
        self._held += 1

        def release(_: Future[_T]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._release)

        done.add_done_callback(release)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(done), seconds)
        except TimeoutError:
            raise Expired from None

    def _release(self) -> None:
        self._held -= 1
