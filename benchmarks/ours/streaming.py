"""Train on prepared data, which stay on the disk, and say what the process takes for itself meanwhile.

Request: as of `benchmarks.ours.training`; ``data`` is a directory of prepared data.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.child import Document, Request, answer
from benchmarks.ours.training import fit_some, timings

__all__ = ["measure", "private_bytes"]

_SECONDS = 0.005  # between two looks at the memory


def measure(request: Request) -> Document:
    """See the module."""
    idle = private_bytes()
    with _highest() as peak:
        _, watch, split = fit_some(request)
    return {
        "interactions": split.data.num_interactions,
        "users": split.data.num_users,
        "idle_private_bytes": idle,
        "private_bytes": max(peak),
        **timings(request, watch),
    }


def private_bytes() -> int:
    """Resident memory that belongs to no file: nobody else has it, and without swap it cannot be paged out."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line]
    return int(line.split()[1]) * 1024


@contextmanager
def _highest() -> Iterator[list[int]]:
    """Looks at the private memory in a thread, again and again; the list has the most so far."""
    found, over = [private_bytes()], threading.Event()

    def look() -> None:
        while not over.wait(_SECONDS):
            found[0] = max(found[0], private_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    answer(measure)
