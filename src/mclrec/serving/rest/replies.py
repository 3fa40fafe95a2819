"""HTTP responses: JSON replies, and the status and message of each kind of error."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json

from mclrec.serving.rest.batcher import Expired, QueueFull
from mclrec.serving.rest.bodies import complaints_of
from mclrec.serving.rest.sessions import SessionsUnavailable

__all__ = ["AGAIN", "add_refusals", "json_reply"]

AGAIN = {"Retry-After": "1"}
"""Header of temporary refusals, which may succeed a moment later."""


def json_reply(content: bytes) -> Response:
    """A JSON response that must not be cached."""
    return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})


def add_refusals(app: FastAPI) -> None:
    """Register a handler for each kind of error."""
    app.add_exception_handler(RequestValidationError, _complain)
    app.add_exception_handler(QueueFull, _queue_full)
    app.add_exception_handler(Expired, _expired)
    app.add_exception_handler(SessionsUnavailable, _no_sessions)
    app.add_exception_handler(Exception, _fail)


async def _complain(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, RequestValidationError)
    return Response(to_json(complaints_of(problem)), 422, media_type="application/json")


async def _queue_full(_: Request, __: Exception) -> Response:
    return _refusal(503, "too many requests are waiting", AGAIN)


async def _expired(_: Request, __: Exception) -> Response:
    return _refusal(504, "no answer before the deadline")


async def _no_sessions(_: Request, problem: Exception) -> Response:
    return _refusal(503, str(problem), AGAIN)


async def _fail(_: Request, __: Exception) -> Response:
    return _refusal(500, "something went wrong here; see the service's log")


def _refusal(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json({"detail": detail}), status, headers, media_type="application/json")
