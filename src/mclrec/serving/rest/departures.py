"""Cancel the work for a request when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from fastapi import HTTPException
from starlette.types import Receive

__all__ = ["LEFT", "while_attended"]

LEFT = 499
"""Status of a request whose client disconnected before it was answered; it only appears in logs and metrics."""

_T = TypeVar("_T")


async def while_attended(receive: Receive, work: Awaitable[_T]) -> _T:
    """Await queued work; if the client disconnects, the work is cancelled and thereby leaves the queue.

    It is awaited in the current task: a separate task would cost as much as many a request.

    Args:
        receive: channel of a request whose body has been read: the next message is the disconnect of its client.
        work: what to wait for.

    Raises:
        HTTPException: the client disconnected first.
    """
    waiting = asyncio.current_task()
    assert waiting is not None
    gone = over = False

    def leave(leaving: asyncio.Future[Any]) -> None:
        nonlocal gone
        if not (over or leaving.cancelled()):  # the callback may already be scheduled when the work ends
            gone = True
            leaving.exception()  # marks it as retrieved
            waiting.cancel()

    leaving = asyncio.ensure_future(receive())
    leaving.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if gone and waiting.cancelling() == 1:
            raise HTTPException(LEFT, "the client disconnected") from None
        raise
    finally:
        over = True
        if gone:
            waiting.uncancel()
        leaving.remove_done_callback(leave)
        leaving.cancel()
