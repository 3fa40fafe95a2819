"""Query parameters of a URL: unknown and repeated ones are refused."""

from __future__ import annotations

from collections import Counter

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute

from mclrec.errors import quoted, unknown_name

__all__ = ["refuse_unknown_names"]


async def refuse_unknown_names(request: Request) -> None:
    """Route dependency that refuses query parameters which would otherwise be ignored, such as misspelt ones.

    Raises:
        HTTPException: the route has no such parameter, or a parameter is given more than once.
    """
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = [field.alias for field in route.dependant.query_params]
    what = f"{request.method} {route.path_format}"
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if not known:
            hint = ": its parameters are in the body" if route.openapi_extra else ""
            raise HTTPException(422, f"{what} has no query parameter {quoted(name)}{hint}")
        if name not in known:
            raise HTTPException(422, unknown_name(f"query parameter of {what}:", name, known))
        if times > 1:
            raise HTTPException(422, f"query parameter {name!r} is given {times} times: give it once")
