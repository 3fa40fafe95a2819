"""Turn a log into sequences, in memory. Request: ``path``, ``min_count``."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.child import Document, Request, answer, versions
from mclrec.data.loading import prepare

__all__ = ["measure"]


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    path = Path(request["path"])
    started = time.perf_counter()
    data = prepare(path, min_count=request["min_count"])
    seconds = time.perf_counter() - started
    return {
        "seconds": round(seconds, 6),
        "file_bytes": path.stat().st_size,
        "users": data.num_users,
        "items": data.num_items,
        "interactions": len(data.items),
        "fingerprint": data.fingerprint,
        "versions": versions(["mclrec", "numpy", "duckdb", "narwhals", "pyarrow"]),
    }


if __name__ == "__main__":
    answer(measure)
