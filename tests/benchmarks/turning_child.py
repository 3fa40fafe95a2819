"""A child that takes turns and logs them to a file. Request: ``path``, ``name``, ``fails`` (a pass), and turns."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.child import Document, Request, answer, turns


def measure(request: Request) -> Document:
    passes = []
    for number in turns(request):
        if number == request.get("fails"):
            raise ValueError("no more")
        with Path(request["path"]).open("a", encoding="utf-8") as file:
            file.write(f"{request['name']}{number} ")
        passes.append(number)
    return {"passes": passes, "cores": sorted(os.sched_getaffinity(0)), "tuning": os.environ.get("MALLOC_X_")}


if __name__ == "__main__":
    answer(measure)
