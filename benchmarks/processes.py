"""Run measurements as child processes, and take their wall time, processor time and peak memory.

The parent imports neither torch nor numpy, because the kernel counts a child's peak memory from what the parent
occupied when it started the child.
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

__all__ = ["ROOT", "BenchmarkError", "Child", "Measurement", "run_child", "run_children", "run_command"]

ROOT = Path(__file__).parents[1]
_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in a unit of ru_maxrss

_Ended = tuple[bytes, float, float, int]
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
        limit: seconds after which it is ended as a failure; None for no limit.
    """

    module: str
    request: Mapping[str, Any] = field(default_factory=dict)
    python: Path = Path(sys.executable)
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result and the cost of a child process.

    Attributes:
        document: the JSON that it printed; empty for other commands.
        seconds: wall time from its start to its end.
        processor_seconds: time that processors spent on it, in all of its threads: other work hardly changes it.
        peak_bytes: its largest resident set.
    """

    document: dict[str, Any]
    seconds: float
    processor_seconds: float
    peak_bytes: int


def run_child(child: Child, *, threads: int, scratch: Path) -> Measurement:
    """Run a child and read the document that it prints.

    Raises:
        BenchmarkError: it failed; the message ends with its last output.
    """
    words = [str(child.python), "-m", child.module, json.dumps(dict(child.request))]
    name = f"{child.module} {_short(child.request)}"
    return _measurement(*_run(words, name, threads, scratch, child.limit))


def run_children(child: Child, count: int, *, threads: int, scratch: Path) -> list[Measurement]:
    """Run a child as ``count`` processes that find each other by torchrun's variables, and measure each.

    Raises:
        BenchmarkError: one failed.
    """
    import socket  # imported here to keep the parent small

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        common = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(probe.getsockname()[1]),
            "WORLD_SIZE": str(count),
        }

    words = [str(child.python), "-m", child.module, json.dumps(dict(child.request))]
    name = f"{child.module} {_short(child.request)}"
    with ExitStack() as stack:
        started = [
            stack.enter_context(_started(words, name, threads, scratch, {**common, "RANK": str(rank)}))
            for rank in range(count)
        ]
        ended = [finish() for finish in started]
    return [_measurement(*found) for found in ended]


def run_command(
    words: Sequence[str], *, threads: int, scratch: Path, limit: float | None = None
) -> Measurement:
    """Run and measure any command; its output is discarded. It is ended after ``limit`` seconds.

    Raises:
        BenchmarkError: it failed.
    """
    _, seconds, processor, peak = _run(words, " ".join(words), threads, scratch, limit)
    return Measurement({}, seconds, processor, peak)


def _measurement(output: bytes, seconds: float, processor: float, peak: int) -> Measurement:
    return Measurement(json.loads(output), seconds, processor, peak)


def _run(words: Sequence[str], name: str, threads: int, scratch: Path, limit: float | None) -> _Ended:
    with _started(words, name, threads, scratch, limit=limit) as finish:
        return finish()


@contextmanager
def _started(
    words: Sequence[str],
    name: str,
    threads: int,
    scratch: Path,
    more: Mapping[str, str] | None = None,
    limit: float | None = None,
) -> Iterator[Callable[[], _Ended]]:
    """Start a process; yields a function that waits for its output and costs."""
    environment = _environment(threads, scratch) | dict(more or {})
    with tempfile.TemporaryFile(dir=scratch) as output, tempfile.TemporaryFile(dir=scratch) as errors:
        started = time.perf_counter()
        with subprocess.Popen(words, stdout=output, stderr=errors, cwd=ROOT, env=environment) as process:

            def finish() -> _Ended:
                timer = threading.Timer(limit or 0, os.kill, (process.pid, signal.SIGKILL))
                if limit is not None:
                    timer.start()
                _, status, usage = os.wait4(process.pid, 0)
                timer.cancel()
                process.returncode = os.waitstatus_to_exitcode(
                    status
                )  # otherwise Popen would wait for it again
                seconds = time.perf_counter() - started
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


def _environment(threads: int, scratch: Path) -> dict[str, str]:
    """Our environment variables, with a fixed number of threads and temporary files in the scratch directory."""
    count = str(threads)
    return os.environ | {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "PYTHONHASHSEED": "0",
        "TMPDIR": str(scratch),
    }


def _tail(file: IO[bytes], lines: int = 15) -> str:
    file.seek(0)
    return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def _short(request: Mapping[str, Any]) -> str:
    text = json.dumps(dict(request))
    return text if len(text) <= 200 else f"{text[:200]}..."
