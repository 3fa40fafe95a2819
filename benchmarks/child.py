"""The protocol of a child process: a request as JSON in its only argument, one JSON document on standard output."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

__all__ = ["Document", "Request", "answer", "turns", "versions"]

Request = Mapping[str, Any]
Document = dict[str, Any]


def answer(measure: Callable[[Request], Document]) -> None:
    """Measure what the request asks for and print the result as JSON; library output goes to standard error."""
    request = json.loads(sys.argv[1])
    del sys.argv[1:]  # RecBole would read it as settings
    output = os.dup(1)
    os.dup2(2, 1)
    document = measure(request)
    with os.fdopen(output, "w", encoding="utf-8") as stream:
        json.dump(document, stream, allow_nan=False)


def turns(request: Request) -> Iterator[int]:
    """Yield the number of each pass when it is this process's turn.

    Request: ``turns``, the descriptor of a socket on which a byte arrives for each turn and one is sent when its pass
    is done (see `benchmarks.turns`); without it ``passes``, the number of passes to run without waiting.
    """
    if "turns" not in request:
        yield from range(request["passes"])
        return
    with socket.socket(fileno=request["turns"]) as line:
        line.sendall(b".")  # ready
        number = 0
        while line.recv(1):
            yield number
            line.sendall(b".")
            number += 1


def versions(names: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of installed packages."""
    return {"python": sys.version.split()[0], **{name: version(name) for name in names}}
