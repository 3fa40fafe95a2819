"""The page at ``/``: files that need nothing but the service itself, sent with a policy that allows nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Response

__all__ = ["POLICY", "router"]

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""The page's Content-Security-Policy: no inline script or style, nothing from elsewhere, no frame around it."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    type: str
    tag: str


def _read() -> dict[str, _File]:
    """The files of this folder by name."""
    files = {}
    for entry in resources.files(__name__).iterdir():
        suffix = entry.name[entry.name.rfind(".") :]
        if suffix in _TYPES:
            content = entry.read_bytes()
            files[entry.name] = _File(content, _TYPES[suffix], f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return files


_FILES = _read()

router = APIRouter(include_in_schema=False)
"""``/`` and ``/page/NAME``. A browser asks each time whether its copy still holds, so that an update is seen."""


@router.get("/")
def index(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """The page."""
    return _send(_FILES["index.html"], if_none_match)


@router.get("/page/{name}")
def part(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """A file that the page asks for."""
    if name not in _FILES:
        raise HTTPException(404, f"the page has no file {name!r}")
    return _send(_FILES[name], if_none_match)


def _send(file: _File, known: str | None) -> Response:
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        "ETag": file.tag,
    }
    if known == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.type, headers=headers)
