"""Static files of the page, each served at the path of its name."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Coroutine, Mapping
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Response

__all__ = ["add_page", "html", "page_files"]

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""Security headers: pages load everything from this service, and cannot be framed by other pages."""


def page_files() -> dict[str, bytes]:
    """The page's files by path."""
    folder = files("mclrec.serving") / "page"
    return {f"/{file.name}": file.read_bytes() for file in folder.iterdir() if file.is_file()}


def add_page(app: FastAPI, page: Mapping[str, bytes]) -> None:
    """Add a route for each file, and one for the page itself."""
    for path, content in {**page, "/": page["/index.html"]}.items():
        kind = "text/html" if path == "/" else mimetypes.guess_type(path)[0] or "application/octet-stream"
        app.add_api_route(path, _file(content, kind), methods=["GET"], include_in_schema=False)


def _file(content: bytes, kind: str) -> Callable[[], Coroutine[Any, Any, Response]]:
    async def answer() -> Response:
        return Response(content, media_type=kind, headers=_PAGE_HEADERS)

    return answer


def html(text: str) -> Response:
    """A response with an HTML page."""
    return Response(text, media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)
