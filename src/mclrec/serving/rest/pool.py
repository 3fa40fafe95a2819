"""Threads for work that may take longer than a millisecond and is no batch of the model: bounded, with a deadline."""

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
        threads: how many work at once.
        room: pieces of work that may be under way or wait.
        name: of the threads.
    """

    def __init__(self, threads: int, room: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._room = room
        self._held = 0

    @property
    def held(self) -> int:
        """Pieces of work that are under way or wait."""
        return self._held

    async def run(self, seconds: float, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The result of ``work``, done in a thread.

        What has not begun when the time is up, or when the caller is cancelled, never does; what has begun keeps its
        place until it is done.

        Args:
            seconds: until `Expired`.
            work: the function.
            args: its arguments.
            kwargs: its arguments by name.

        Raises:
            QueueFull: at once.
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
