"""Work for a request that ends when its client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from fastapi import HTTPException
from starlette.types import Receive

__all__ = ["LEFT", "while_attended"]

LEFT = 499
"""Status of a request whose client went away before it was answered; nobody gets it, but the log."""

_T = TypeVar("_T")


async def while_attended(receive: Receive, work: Awaitable[_T]) -> _T:
    """The result of what waits in a queue; a client that goes away cancels it, which takes it out of there.

    It is awaited here and in no task of its own, which would cost as much as many a request.

    Args:
        receive: of a request whose body has been read: what comes next is that its client is gone.
        work: what is waited for.

    Raises:
        HTTPException: the client went away first.
    """
    waiting = asyncio.current_task()
    assert waiting is not None
    gone = over = False

    def leave(leaving: asyncio.Future[Any]) -> None:
        nonlocal gone
        if not (over or leaving.cancelled()):  # it may be on its way already when the work ends
            gone = True
            leaving.exception()  # seen, even if nobody asks
            waiting.cancel()

    leaving = asyncio.ensure_future(receive())
    leaving.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if gone and waiting.cancelling() == 1:
            raise HTTPException(LEFT, "the client went away") from None
        raise
    finally:
        over = True
        if gone:
            waiting.uncancel()
        leaving.remove_done_callback(leave)
        leaving.cancel()
