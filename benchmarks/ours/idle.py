"""Load the libraries and do nothing: the memory that any of ours occupies. Request: ``modules``."""

from __future__ import annotations

from importlib import import_module

from benchmarks.child import Document, Request, answer

__all__ = ["measure"]


def measure(request: Request) -> Document:
    """See the module."""
    for name in request["modules"]:
        import_module(name)
    return {}


if __name__ == "__main__":
    answer(measure)
