"""Processes that keep cores busy while something is measured; `busy` starts and ends them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.processes import ROOT

__all__ = ["busy"]

_CHECK_SECONDS = 0.2  # seconds after which a process checks whether its parent still runs


@contextmanager
def busy(cores: Sequence[int]) -> Iterator[None]:
    """Keep each core busy with its own process, which runs when the block begins and is killed when it ends."""
    with ExitStack() as stack:
        for core in cores:
            words = [sys.executable, "-m", __name__, str(core), str(os.getpid())]
            process = stack.enter_context(
                subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            )
            stack.callback(process.kill)  # runs before Popen waits for it
            assert process.stdout is not None
            process.stdout.readline()
        yield


def spin(core: int, parent: int) -> None:
    """Print a line once running, then compute on a core for as long as the parent process lives."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    sys.stdout.write("\n")
    sys.stdout.flush()
    while os.getppid() == parent:
        until = time.perf_counter() + _CHECK_SECONDS
        while time.perf_counter() < until:
            pass


if __name__ == "__main__":
    spin(int(sys.argv[1]), int(sys.argv[2]))
