"""Train on prepared data that stay on disk, and report the private memory of the process.

Request: as in `benchmarks.ours.training`; ``data`` is a directory of prepared data.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.child import Document, Request, answer
from benchmarks.ours.training import fit_some, timings

__all__ = ["measure", "private_bytes"]

_SECONDS = 0.005  # between two samples of the memory


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    idle = private_bytes()
    with _peak_memory() as peak:
        _, watch, split = fit_some(request)
    return {
        "interactions": split.data.num_interactions,
        "users": split.data.num_users,
        "idle_private_bytes": idle,
        "private_bytes": max(peak),
        **timings(request, watch),
    }


def private_bytes() -> int:
    """Resident memory that is not backed by files, so that it is not shared and cannot be paged out without swap."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line]
    return int(line.split()[1]) * 1024


@contextmanager
def _peak_memory() -> Iterator[list[int]]:
    """Sample the private memory in a thread; the list's only element is the highest value so far."""
    found, over = [private_bytes()], threading.Event()

    def sample() -> None:
        while not over.wait(_SECONDS):
            found[0] = max(found[0], private_bytes())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    answer(measure)
