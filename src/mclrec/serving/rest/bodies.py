"""Request bodies: reading them within limits of size, time and memory, validation, and one-line errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import from_json

from mclrec.serving.rest.departures import LEFT
from mclrec.serving.rest.pool import WorkPool
from mclrec.serving.rest.schemas import BatchRequest, EventsRequest, ExplainRequest, RecommendRequest
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.translation import LimitExceeded, check, limits_of

__all__ = ["BodyReader", "check_type", "complaints_of"]

_Body = TypeVar("_Body", RecommendRequest, BatchRequest, ExplainRequest, EventsRequest)

_BODIES = (RecommendRequest, BatchRequest, ExplainRequest, EventsRequest)

_SMALL = 4096
"""Largest body, in bytes, that is parsed on the event loop; a larger one takes milliseconds and goes to a thread."""

_LARGE = 65_536
"""Bodies of more bytes have their parts counted before validation: validating half a million ids takes too long."""

_KEYS = 16
_COMPLAINTS = 10
_CUT = 100
_CLOSE = {"Connection": "close"}


class BodyReader:
    """Reads request bodies; one per service, so that all bodies being read stay within a common limit.

    Args:
        settings: limits.
        pool: threads for parsing large bodies.
    """

    def __init__(self, settings: Settings, pool: WorkPool) -> None:
        self._settings, self._pool = settings, pool
        self._limits = {schema: limits_of(settings, schema) for schema in _BODIES}
        self._held = 0

    async def read(self, request: Request, schema: type[_Body]) -> _Body:
        """Read and validate the body of a request.

        Raises:
            HTTPException: its type is not JSON, or it is too large, too slow, or beyond a limit.
            RequestValidationError: it is not valid JSON, or a value is wrong.
        """
        check_type(request)
        with self._holding() as hold:
            raw = await self._bytes(request, hold)
            if len(raw) <= _SMALL:
                return self._parsed(raw, schema)
            return await self._pool.run(self._settings.deadline, self._parsed, raw, schema)

    async def skip(self, request: Request) -> None:
        """Read and ignore the body of a request that needs none: only then is a disconnect of the client noticed."""
        with self._holding() as hold:
            await self._bytes(request, hold)

    async def expect_nothing(self, request: Request, hint: str) -> None:
        """Read the body of a request that takes none, and refuse one with content.

        Raises:
            HTTPException: it is not empty, an empty object or null, or it is too large or too slow.
        """
        with self._holding() as hold:
            said = await self._bytes(request, hold)
        if said.strip() not in (b"", b"{}", b"null"):
            raise HTTPException(422, f"{request.method} {request.url.path} takes no body: {hint}")

    async def _bytes(self, request: Request, hold: Callable[[int], None]) -> bytes:
        """All bytes of the body, unless they are too many or too slow; chunked bodies are counted as they arrive."""
        limit = self._settings.max_body
        parts: list[bytes] = []
        length = 0
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                more = True
                while more:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise HTTPException(LEFT, "the client disconnected")
                    part, more = message.get("body", b""), message.get("more_body", False)
                    length += len(part)
                    if length > limit:
                        raise HTTPException(413, f"the body is too large: at most {limit} bytes", _CLOSE)
                    hold(len(part))
                    parts.append(part)
        except TimeoutError:
            raise HTTPException(408, "the body arrived too slowly", _CLOSE) from None
        return b"".join(parts)

    def _parsed(self, raw: bytes, schema: type[_Body]) -> _Body:
        """Parse and validate a body.

        Raises:
            HTTPException: it is beyond a limit.
            RequestValidationError: it is not valid JSON, or a value is wrong.
        """
        limits = self._limits[schema]
        if len(raw) > _LARGE:
            _check_sizes(raw, limits)
        try:
            asked = schema.model_validate_json(raw)
        except ValidationError as problem:
            raise _invalid(problem) from None
        try:
            check(asked, limits, self._settings.max_k)
        except LimitExceeded as problem:
            raise HTTPException(422, str(problem)) from None
        return asked

    @contextmanager
    def _holding(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that adds bytes of one body to those currently held, and refuses too many."""
        held = 0

        def hold(more: int) -> None:
            nonlocal held
            if self._held + more > max(self._settings.max_bodies, self._settings.max_body):
                raise HTTPException(503, "too many bodies are being read", {"Retry-After": "1", **_CLOSE})
            self._held += more
            held += more

        try:
            yield hold
        finally:
            self._held -= held


def check_type(request: Request) -> None:
    """Accept JSON only, which a form on another site cannot send without a CORS preflight.

    Raises:
        HTTPException: the content type is not JSON.
    """
    types = (value for name, value in request.scope["headers"] if name == b"content-type")
    given = next(types, b"").decode("latin-1")
    if given.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, f"Content-Type must be application/json, not {given[:_CUT]!r}")


def complaints_of(problem: RequestValidationError) -> dict[str, Any]:
    """The body of a validation error: one line, and the first complaints one by one, without the values."""
    found = problem.errors()
    complaints: list[dict[str, Any]] = [
        {"type": one["type"], "loc": [_cut(part) for part in one["loc"]], "msg": one["msg"][: 3 * _CUT]}
        for one in found[:_COMPLAINTS]
    ]
    first = complaints[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    place = ".".join(str(part) for part in first["loc"][1:])
    return {
        "detail": f"{place}: {first['msg']}{more}" if place else f"{first['msg']}{more}",
        "complaints": complaints,
    }


def _cut(part: str | int) -> str | int:
    return part if isinstance(part, int) else part[:_CUT]


def _invalid(problem: ValidationError) -> RequestValidationError:
    """Pydantic's complaints without the values, which may be large or not representable in JSON."""
    complaints = problem.errors(include_url=False, include_context=False, include_input=False)
    return RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in complaints])


def _check_sizes(raw: bytes, limits: Mapping[str, int]) -> None:
    """Refuse objects with very many keys, each of which would be a complaint, and lists that are too long.

    Raises:
        HTTPException: it is beyond a limit.
    """
    try:
        value = from_json(raw)
    except ValueError:
        return  # the schema says what is wrong
    for one in (value, *_list(value, "requests")):
        if isinstance(one, dict) and len(one) > _KEYS:
            raise HTTPException(422, f"an object has {len(one)} keys: at most {_KEYS}")
        for name, limit in limits.items():
            if (length := len(_list(one, name))) > limit:
                raise HTTPException(422, f"{name} has {length} entries: at most {limit}")


def _list(value: object, name: str) -> list[object]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []
