"""How many threads a process may use, according to CPU affinity, the container's quota and the user's settings.

Libraries count the cores of the machine. In a process that is allowed fewer, or shares them, threads wait for each
other, and they spin while waiting, which takes time from the threads that they wait for. If the cores are free, the
opposite holds: a sleeping thread takes longer to wake up than most operations last. The command line therefore sets,
before PyTorch is imported, the number of threads and whether they spin for a moment before they sleep; settings of the
user are never changed.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path, PurePosixPath

__all__ = ["allowed_threads", "given_threads", "prepare_environment", "share_of_threads", "sleep_at_once"]

_COUNT = "OMP_NUM_THREADS"
_COUNTS = (_COUNT, "MKL_NUM_THREADS")
_OURS = "MCLREC_SET_THREADS"
"""Marks, for this process and its children, that the thread count in the environment was set by us."""

_SLEEPING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Waiting threads sleep: settings for libgomp, which PyTorch's Linux wheels use, and for LLVM's and Intel's runtime."""

_SPINNING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
"""Waiting threads spin for about half a millisecond first; most waits during training are shorter.

libgomp's own default, 300,000 rounds, is hardly faster, and training stalls if the cores become busy later.
"""

_MOST_SAMPLES, _BETWEEN = 5, 0.001
"""Maximum number of times that the machine's running threads are counted, and seconds in between."""

_WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Environment variables with which users control how threads wait."""


def allowed_threads(root: Path = Path("/")) -> int:
    """Number of threads that can run at a time: the cores by affinity, limited by the cgroup quota, rounded up.

    Args:
        root: folder that contains ``proc`` and ``sys``.
    """
    cores, quota = _cores(), min(_quotas(root), default=math.inf)
    return max(1, cores if math.isinf(quota) else min(cores, math.ceil(quota)))


def given_threads(environment: MutableMapping[str, str] = os.environ) -> int | None:
    """The number of threads that the user has set in the environment; None if it is not set, or was set by us."""
    if _OURS in environment:
        return None
    for name in _COUNTS:
        first = environment.get(name, "").partition(",")[0].strip()  # OpenMP takes one number per level
        if first.isdecimal() and int(first) > 0:
            return int(first)
    return None


def share_of_threads(count: int) -> int:
    """Number of threads for each of ``count`` processes: the user's setting, or an equal share; at least one."""
    return given_threads() or max(1, allowed_threads() // max(count, 1))


def prepare_environment(environment: MutableMapping[str, str] = os.environ, root: Path = Path("/")) -> None:
    """Set how many threads libraries start, and how these wait for each other; call it before importing the libraries.

    Args:
        environment: the environment variables, which are changed in place.
        root: folder that contains ``proc`` and ``sys``.
    """
    threads = given_threads(environment) or allowed_threads(root)
    if not any(environment.get(name) for name in _COUNTS):
        environment[_COUNT], environment[_OURS] = str(threads), "1"
    if not any(name in environment for name in _WAIT_VARIABLES):
        room = any(threads <= free for free in _free_cores(root))
        environment.update(_SPINNING if room else _SLEEPING)


def sleep_at_once(environment: MutableMapping[str, str] = os.environ) -> None:
    """Replace our spinning setting by sleeping, in a process with other work to do; call it before importing libraries.

    Args:
        environment: the environment variables, as `prepare_environment` left them.
    """
    if all(environment.get(name) == value for name, value in _SPINNING.items()):
        for name in _SPINNING:
            del environment[name]
        environment.update(_SLEEPING)


def _free_cores(root: Path) -> Iterator[int]:
    """Number of cores that this process may use and no other keeps busy, in several successive samples.

    The system's one-minute average would still include the user's last command, so running threads are counted: a
    process that computes appears in every sample. If the system gives no count, no other process is assumed.
    """
    for look in range(_MOST_SAMPLES):
        if look:
            time.sleep(_BETWEEN)
        busy = max(_running(root) - 1, 0)  # this process runs too
        yield min(_cores(), (os.cpu_count() or 1) - busy)


def _running(root: Path) -> int:
    """Number of runnable threads on the machine; 1 if the system does not tell."""
    try:
        return int((root / "proc/loadavg").read_text(encoding="utf-8").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 1


def _cores() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Quotas, in cores, of the process's cgroups and of all their ancestors; cgroups without one are left out."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            for folder in _upwards(root / "sys/fs/cgroup", path):
                yield from _quota(folder / "cpu.max")
        elif "cpu" in controllers.split(","):
            for mount in {controllers, "cpu"}:
                for folder in _upwards(root / "sys/fs/cgroup" / mount, path):
                    yield from _quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """Folders of a cgroup and its ancestors; in a container, the path may be the host's and not exist."""
    own = PurePosixPath(path.strip().lstrip("/"))
    if ".." in own.parts:  # outside of the namespace
        own = PurePosixPath()
    for part in (own, *own.parents):
        yield mount / part


def _quota(*files: Path) -> Iterator[float]:
    """The quota in cores from one file with quota and period, or from a file for each; nothing if unlimited."""
    try:
        words = [word for file in files for word in file.read_text(encoding="utf-8").split()]
        quota, period = float(words[0]), float(words[1])
    except (OSError, ValueError, IndexError):  # no such file, or ``max``
        return
    if quota > 0 and period > 0:
        yield quota / period
