"""`POST /recommend` before the framework: most requests are that one, and the framework's layers cost the most of it.

Routing, solving of dependencies, exit stacks and handlers of errors in FastAPI take more of a processor than checking
the body, looking ids up and writing the reply. So a good request is answered here, by the function that the framework's
own endpoint calls; all other requests, and whatever fails, are the framework's, which so writes every error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Direct", "raise_failure_of"]

_FAILURE = "mclrec.failure"
_FRESH = (b"cache-control", b"no-store")
_JSON = (b"content-type", b"application/json")

Answer = Callable[[Scope, Receive], Awaitable[bytes]]
"""Reads a request and gives the JSON of its answer."""


class Direct:
    """ASGI application that answers one route itself and leaves all else to another one.

    Args:
        app: the framework's application; its endpoint of the route calls `raise_failure_of` first.
        route: the framework's route, a POST without parameters in its path.
        answer: what that endpoint calls too.
    """

    def __init__(self, app: ASGIApp, route: Route, answer: Answer) -> None:
        self.app = app
        self._route, self._path, self._answer = route, route.path, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        other = scope["path"] != self._path or scope["method"] != "POST" or scope.get("root_path")
        if other or scope["query_string"]:
            await self.app(scope, receive, send)
            return
        try:
            body = await self._answer(scope, receive)
        except Exception as problem:
            scope[_FAILURE] = problem
            await self.app(scope, receive, send)
            return
        scope["route"] = self._route
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [_FRESH, length, _JSON]})
        await send({"type": "http.response.body", "body": body})


def raise_failure_of(scope: Scope) -> None:
    """Raise what kept a request from being answered before it reached the framework, if it was tried."""
    failure: Exception | None = scope.pop(_FAILURE, None)
    try:
        if failure is not None:
            raise failure
    finally:
        del failure  # else it would refer to this frame, and the frame to it, until garbage is collected
