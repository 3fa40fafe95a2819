"""``mclrec train --processes N``: starts N training processes on this machine, with the environment of torchrun."""

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
from mclrec.threads import share_of_threads

__all__ = ["is_main", "is_one_of_several", "run_processes"]

_GRACE = 10.0
"""Seconds that the other processes have to exit on their own after one has failed."""

_POLL = 0.1


def is_one_of_several() -> bool:
    """Whether this is one of several training processes, started by torchrun or by `run_processes`."""
    return "WORLD_SIZE" in os.environ


def is_main() -> bool:
    """Whether this is the only or the first training process: the one that prints."""
    return os.environ.get("RANK", "0") == "0"


def run_processes(words: Sequence[str], count: int) -> int:
    """Run ``mclrec`` with ``words`` in ``count`` processes and wait for them.

    The first process writes to the terminal. The output of the others is shown only if one of them made the run fail.
    When one fails, the others have `_GRACE` seconds to exit before they are killed.

    Returns:
        The exit status: the first that is not 0, or 3 if a process was lost.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        processes = _start(words, count, output)
        try:
            with _forwarding_signals(processes):
                statuses = _statuses(processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        _explain(statuses, words, output)
    if any(status is None or status < 0 for status in statuses):
        return LOST_STATUS
    return next((status for status in statuses if status), 0)


def _start(words: Sequence[str], count: int, output: IO[str]) -> list[subprocess.Popen[str]]:
    """Start all processes, with a free rendezvous port and an equal share of the cores each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": str(share_of_threads(count)),
    }
    return [
        subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "mclrec", *words],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=output if rank else None,
            stderr=output if rank else None,
            text=True,
            process_group=0,  # signals of the terminal arrive once, through this process
        )
        for rank in range(count)
    ]


def _statuses(processes: Sequence[subprocess.Popen[str]]) -> list[int | None]:
    """Wait for the exit status of each process; None for one that still ran `_GRACE` seconds after another failed."""
    deadline = math.inf
    while time.monotonic() < deadline:
        statuses = [process.poll() for process in processes]
        if None not in statuses:
            break
        if any(statuses):
            deadline = min(deadline, time.monotonic() + _GRACE)
        time.sleep(_POLL)
    return [process.poll() for process in processes]


def _explain(statuses: Sequence[int | None], words: Sequence[str], output: IO[str]) -> None:
    """Report why the run ended, unless the first process has already done so."""
    killed = [rank for rank, status in enumerate(statuses) if status is not None and status < 0]
    if killed:
        name = signal.Signals(-(statuses[killed[0]] or 0)).name
        again = shlex.join(["mclrec", *words, *(() if "--resume" in words else ("--resume",))])
        sys.stderr.write(
            f"error: process {killed[0]} of {len(statuses)} was ended by {name}, and the others were stopped. Continue "
            f"from the last checkpoint with:\n  {again}\n"
        )
    elif statuses[0] in (0, None, LOST_STATUS) and any(statuses):
        output.seek(0)
        sys.stderr.write(output.read())


@contextmanager
def _forwarding_signals(processes: Sequence[subprocess.Popen[str]]) -> Iterator[None]:
    """Forward Ctrl-C and SIGTERM to all processes, which agree on the step after which to stop."""

    def forward(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signature of a signal handler
        for process in processes:
            process.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
