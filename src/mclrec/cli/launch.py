"""``mclrec train --processes N``: the same command N times on this machine, in the environment that torchrun makes."""

from __future__ import annotations

import math
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import IO

from mclrec.errors import LOST_STATUS

__all__ = ["is_main", "is_one_of_several", "run_processes"]

_GRACE = 10.0  # seconds in which the others may end by themselves
_LOOK = 0.1


def is_one_of_several() -> bool:
    """Whether this process was started with others, by torchrun or by `run_processes`."""
    return "WORLD_SIZE" in os.environ


def is_main() -> bool:
    """Whether this process is the one of them that speaks."""
    return os.environ.get("RANK", "0") == "0"


def run_processes(words: Sequence[str], count: int) -> int:
    """Run ``mclrec`` with ``words`` in ``count`` processes and wait for them.

    The first one has the terminal. What the others write is shown only if one of them is the reason that the run
    ends. When one ends badly, the others have `_GRACE` seconds to do so too.

    Returns:
        The exit status: of the first process, or 3 where one was lost.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        processes = _start(words, count, said)
        try:
            with _passing_on(processes):
                statuses = _statuses(processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        _explain(statuses, words, said)
    if any(status is None or status < 0 for status in statuses):
        return LOST_STATUS
    return next((status for status in statuses if status), 0)


def _start(words: Sequence[str], count: int, said: IO[str]) -> list[subprocess.Popen[str]]:
    """All processes, on a free port, sharing the cores."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    threads = max(1, len(os.sched_getaffinity(0)) // count) if hasattr(os, "sched_getaffinity") else 1
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
    }
    return [
        subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "mclrec", *words],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=said if rank else None,
            stderr=said if rank else None,
            text=True,
            process_group=0,  # a signal of the terminal comes once, through us
        )
        for rank in range(count)
    ]


def _statuses(processes: Sequence[subprocess.Popen[str]]) -> list[int | None]:
    """How each process ended; None for one that did not when another had ended badly."""
    deadline = math.inf
    while time.monotonic() < deadline:
        statuses = [process.poll() for process in processes]
        if None not in statuses:
            break
        if any(statuses):
            deadline = min(deadline, time.monotonic() + _GRACE)
        time.sleep(_LOOK)
    return [process.poll() for process in processes]


def _explain(statuses: Sequence[int | None], words: Sequence[str], said: IO[str]) -> None:
    """Say why the run ended, unless the first process has said it."""
    killed = [rank for rank, status in enumerate(statuses) if status is not None and status < 0]
    if killed:
        name = signal.Signals(-(statuses[killed[0]] or 0)).name
        again = shlex.join(["mclrec", *words, *(() if "--resume" in words else ("--resume",))])
        sys.stderr.write(
            f"error: process {killed[0]} of {len(statuses)} was ended by {name}, and the others with it. "
            f"Go on from the last checkpoint with:\n  {again}\n"
        )
    elif statuses[0] in (0, None, LOST_STATUS) and any(statuses):
        said.seek(0)
        sys.stderr.write(said.read())


@contextmanager
def _passing_on(processes: Sequence[subprocess.Popen[str]]) -> Iterator[None]:
    """Ctrl-C and SIGTERM go to all processes, which agree on a step after which they stop."""

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the interface of a handler
        for process in processes:
            process.send_signal(number)

    previous = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
