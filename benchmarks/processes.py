"""Run measurements as child processes, and measure their wall time, processor time and peak memory.

The parent imports neither torch nor numpy, because a child's peak memory, as the kernel counts it, is at least what the
parent occupied when it started the child.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

__all__ = [
    "ROOT",
    "BenchmarkError",
    "Child",
    "Measurement",
    "Place",
    "measurement",
    "run_child",
    "run_children",
    "run_command",
    "started",
]

ROOT = Path(__file__).parents[1]
_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in a unit of ru_maxrss

_TUNING = ("OMP_", "GOMP_", "KMP_", "MKL_", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Prefixes of variables that tune threads and allocators; removed, so that all sides run with library defaults."""

Ended = tuple[bytes, float, float, int]
"""Output, wall time, processor time and peak memory of a process."""


class BenchmarkError(Exception):
    """A measurement that failed or would not be fair. The command line prints it without a traceback."""


@dataclass(frozen=True, slots=True)
class Child:
    """A module to run in a child process, and its request.

    Attributes:
        module: name of a module that calls `benchmarks.child.answer`.
        request: passed as JSON.
        python: interpreter of the environment that the module needs.
        limit: seconds after which it is killed and counts as failed; None for no limit.
        environment: its environment variables in addition to ours.
    """

    module: str
    request: Mapping[str, Any] = field(default_factory=dict)
    python: Path = Path(sys.executable)
    limit: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Module and request in one line, for messages."""
        return f"{self.module} {_short(self.request)}"

    def words(self, **more: Any) -> list[str]:
        """The command that runs it; ``more`` are further keys of the request."""
        return [str(self.python), "-m", self.module, json.dumps({**self.request, **more})]


@dataclass(frozen=True, slots=True)
class Place:
    """Where children run.

    Attributes:
        threads: number of threads of each child.
        scratch: directory for temporary files.
        cores: cores to which each child is pinned; None for all that this process may use.
    """

    threads: int
    scratch: Path
    cores: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result and the costs of a child process.

    Attributes:
        document: the JSON that it printed; empty for other commands.
        seconds: wall time from its start to its end.
        processor_seconds: processor time of all its threads, which other work on the machine hardly changes.
        peak_bytes: its largest resident set.
    """

    document: dict[str, Any]
    seconds: float
    processor_seconds: float
    peak_bytes: int


def run_child(child: Child, place: Place) -> Measurement:
    """Run a child and read the document that it prints.

    Raises:
        BenchmarkError: it failed; the message ends with its last output.
    """
    with started(child.words(), child.name, place, child.environment, child.limit) as finish:
        return measurement(finish())


def run_children(child: Child, count: int, place: Place) -> list[Measurement]:
    """Run a child as ``count`` processes that find each other through torchrun's variables, and measure each.

    Raises:
        BenchmarkError: a process failed.
    """
    import socket  # imported here to keep the parent small

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        common = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(probe.getsockname()[1]),
            "WORLD_SIZE": str(count),
            **child.environment,
        }
    with ExitStack() as stack:
        finishes = [
            stack.enter_context(started(child.words(), child.name, place, {**common, "RANK": str(rank)}))
            for rank in range(count)
        ]
        ended = [finish() for finish in finishes]
    return [measurement(found) for found in ended]


def run_command(words: Sequence[str], place: Place, limit: float | None = None) -> Measurement:
    """Run and measure any command, without its output. It is killed after ``limit`` seconds.

    Raises:
        BenchmarkError: it failed.
    """
    with started(words, " ".join(words), place, limit=limit) as finish:
        _, seconds, processor, peak = finish()
    return Measurement({}, seconds, processor, peak)


def measurement(ended: Ended) -> Measurement:
    """The document and the costs of a child that has ended."""
    output, seconds, processor, peak = ended
    return Measurement(json.loads(output), seconds, processor, peak)


@contextmanager
def started(
    words: Sequence[str],
    name: str,
    place: Place,
    more: Mapping[str, str] | None = None,
    limit: float | None = None,
    files: Sequence[int] = (),
) -> Iterator[Callable[[], Ended]]:
    """Start a process; yield a function that waits for it and returns its output and costs.

    Args:
        words: the command.
        name: what messages call the process.
        place: where it runs.
        more: environment variables in addition to ours.
        limit: seconds after which it is killed and counts as failed; None for no limit.
        files: file descriptors that it inherits.
    """
    environment = _environment(place) | dict(more or {})
    with (
        tempfile.TemporaryFile(dir=place.scratch) as output,
        tempfile.TemporaryFile(dir=place.scratch) as errors,
    ):
        begun = time.perf_counter()
        with _on_cores(place.cores):  # a child inherits the affinity of the thread that starts it
            process = subprocess.Popen(
                words, stdout=output, stderr=errors, cwd=ROOT, env=environment, pass_fds=files
            )
        with process:

            def finish() -> Ended:
                timer = threading.Timer(limit or 0, os.kill, (process.pid, signal.SIGKILL))
                if limit is not None:
                    timer.start()
                try:
                    _, status, usage = os.wait4(process.pid, 0)
                finally:
                    timer.cancel()  # else, after an interrupted wait, it would kill whatever has this pid by then
                process.returncode = os.waitstatus_to_exitcode(
                    status
                )  # otherwise Popen would wait for it again
                seconds = time.perf_counter() - begun
                if process.returncode and limit is not None and seconds >= limit:
                    raise BenchmarkError(f"{name} was ended after {limit:.0f} s:\n{_tail(errors)}")
                if process.returncode:
                    raise BenchmarkError(f"{name} failed with status {process.returncode}:\n{_tail(errors)}")
                output.seek(0)
                processor = usage.ru_utime + usage.ru_stime
                return output.read(), seconds, processor, usage.ru_maxrss * _UNIT

            try:
                yield finish
            except BaseException:
                process.kill()
                raise


@contextmanager
def _on_cores(cores: Sequence[int] | None) -> Iterator[None]:
    """Pin this thread, and the processes that it starts, to some cores, if the platform has CPU affinity."""
    if cores is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _environment(place: Place) -> dict[str, str]:
    """Variables of a child: a fixed number of threads; threads and allocators are otherwise as libraries choose."""
    count = str(place.threads)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_TUNING)}
    return kept | {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "PYTHONHASHSEED": "0",
        "TMPDIR": str(place.scratch),
    }


def _tail(file: IO[bytes], lines: int = 15) -> str:
    file.seek(0)
    return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def _short(request: Mapping[str, Any]) -> str:
    text = json.dumps(dict(request))
    return text if len(text) <= 200 else f"{text[:200]}..."
