"""Draw sequences and save them as prepared data. Request: ``path``, and ``data`` as in `benchmarks.ours.sources`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.child import Document, Request, answer
from benchmarks.ours.sources import drawn

__all__ = ["measure"]


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    folder = Path(request["path"])
    data = drawn(**request["data"])
    data.save(folder)
    return {
        "interactions": data.num_interactions,
        "file_bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }


if __name__ == "__main__":
    answer(measure)
