"""Fast path for `POST /recommend`, the most frequent request, whose cost is mostly the framework's layers.

Routing, dependency resolution, exit stacks and exception handlers in FastAPI take more CPU time than validating the
body, looking up ids and writing the reply. A valid request is therefore answered here, by the function that the
framework's own endpoint calls; all other requests and all failures go to the framework, which writes every error.
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
"""A function that reads a request and returns the JSON of its answer."""


class Direct:
    """ASGI application that answers one route itself and delegates everything else to another application.

    Args:
        app: the framework's application; its endpoint for the route calls `raise_failure_of` first.
        route: the framework's route, a POST without path parameters.
        answer: the function that this endpoint calls too.
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
    """Raise the exception with which the fast path failed to answer a request, if it did."""
    failure: Exception | None = scope.pop(_FAILURE, None)
    try:
        if failure is not None:
            raise failure
    finally:
        del failure  # breaks the reference cycle between exception and frame
