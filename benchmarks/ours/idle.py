"""Import modules and do nothing, to measure their memory. Request: ``modules``."""

from __future__ import annotations

from importlib import import_module

from benchmarks.child import Document, Request, answer

__all__ = ["measure"]


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    for name in request["modules"]:
        import_module(name)
    return {}


if __name__ == "__main__":
    answer(measure)
