"""Worker processes that share the processor's cores and end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Any, Self

import torch

from mclrec.notices import failed, others_quiet, tell
from mclrec.progress import quietly
from mclrec.runs.thread_choice import usable_threads

__all__ = ["Workers", "usual_count"]

_GRACE = 60.0
"""Seconds that a worker has to write its checkpoint."""

_POLL = 1.0
_REVIVALS = 3
"""Number of times that a killed worker is replaced, per worker and per job."""

_MOST = 4
"""Largest default number of workers; each has its own copy of model and optimiser."""


def usual_count() -> int:
    """Default number of workers: one per thread that torch may use, at most four; one if there is a GPU.

    A second thread makes models of this size at most 1.4 times as fast (MCLRec on Beauty: an epoch takes 13.0 s with
    two, 16.6 s with one); one process per core does as many runs at a time as there are cores.
    """
    return 1 if torch.cuda.is_available() else min(usable_threads(), _MOST)


class Workers:
    """Pool of processes that each run the same function until it returns; leaving the ``with`` block stops them.

    They share the processor's cores. They ignore Ctrl-C, which this process handles by sending them SIGTERM.

    Args:
        target: the function that each runs; it must be importable by name.
        arguments: arguments of ``target``.
        count: number of workers.
        jobs: total number of jobs; any of them may kill its worker, so the limit on replacements grows with it.
    """

    def __init__(
        self, target: Callable[..., object], arguments: tuple[Any, ...], count: int, jobs: int = 0
    ) -> None:
        self._target, self._arguments, self.count = target, arguments, count
        self._most_revivals = _REVIVALS * (count + jobs)
        self._context = multiprocessing.get_context("spawn")
        self._threads = max(1, usable_threads() // max(count, 1))
        self._processes: list[BaseProcess] = []
        self._revivals = 0

    def __enter__(self) -> Self:
        try:
            for _ in range(self.count):
                self._processes.append(self._start())
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        alive = [process for process in self._processes if process.is_alive()]
        if not alive:
            return
        try:
            if isinstance(error, KeyboardInterrupt):  # the second Ctrl-C
                return
            for process in alive:
                process.terminate()
            many = (
                "1 worker writes its checkpoint"
                if len(alive) == 1
                else f"{len(alive)} workers write checkpoints"
            )
            tell("stopping", f"{many}; Ctrl-C ends this now, and what is not saved is lost")
            until = time.monotonic() + _GRACE
            for process in alive:
                process.join(max(0.0, until - time.monotonic()))
        finally:
            self._kill()

    def _kill(self) -> None:
        """Kill the workers that still run."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()

    def working(self) -> bool:
        """Replace workers that a signal has killed, up to a limit; returns whether any is running.

        A worker that ended by itself has nothing left to do, or has reported why it cannot go on.
        """
        for place, process in enumerate(self._processes):
            if (process.exitcode or 0) < 0 and self._revivals < self._most_revivals:
                self._revivals += 1
                self._processes[place] = self._start()
        return any(process.is_alive() for process in self._processes)

    def _start(self) -> BaseProcess:
        arguments = (self._target, self._arguments, self._threads, os.getpid())
        process = self._context.Process(target=_work, args=arguments)
        # The worker inherits the blocked signal, so that Ctrl-C, which the terminal sends to both, does not interrupt
        # its imports.
        resource_tracker.ensure_running()  # else the first start of a process does, and unblocks the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return process


def _work(target: Callable[..., object], arguments: tuple[Any, ...], threads: int, parent: int) -> None:
    """Run ``target`` in a process that ends with its parent and leaves Ctrl-C to it."""
    os.setsid()
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the interface of a handler
        stopped.set()
        raise KeyboardInterrupt

    words = ["worker", target.__qualname__]
    try:
        signal.signal(signal.SIGTERM, stop)  # it may arrive during the next lines
        threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
        torch.set_num_threads(threads)
        with others_quiet(words), quietly():
            target(*arguments)
    except KeyboardInterrupt:  # between two runs
        return
    except Exception as problem:
        if not stopped.is_set():  # another library may turn the signal into its own exception
            sys.exit(failed(problem, words))


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL)
    os.kill(os.getpid(), signal.SIGTERM)
