"""How many threads a process may keep busy: by affinity, by the container's quota, and by what the user has said.

Libraries count the cores of the machine. A process that is allowed fewer, or shares them, has threads that wait for
each other, and while they wait they spin, which takes the time of those they wait for. Where the cores are free it is
the other way round: a thread that sleeps takes longer to wake up than most operations last. So the command line sets,
before PyTorch is imported, how many threads there are, and whether they spin for a moment before they sleep; what the
user has set is never changed.
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
"""Says to this process and to those that it starts that the count in the environment is ours."""

_SLEEPING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads that wait sleep: in libgomp, which PyTorch's wheels for Linux have, and in LLVM's and Intel's runtime."""

_SPINNING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
"""Threads that wait spin for about half a millisecond first, which most waits of a training are shorter than.

libgomp itself would spin for 300,000 rounds, which is little quicker, and stands still when the cores get busy later.
"""

_LOOKS, _BETWEEN = 5, 0.001
"""How often the running threads of a machine are counted at most, and the seconds between."""

_OWN_WORDS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Variables by which a user says how threads wait."""


def allowed_threads(root: Path = Path("/")) -> int:
    """Threads that run at a time: as many as cores by affinity, and no more than the cgroup's quota rounded up.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    cores, quota = _cores(), min(_quotas(root), default=math.inf)
    return max(1, cores if math.isinf(quota) else min(cores, math.ceil(quota)))


def given_threads(environment: MutableMapping[str, str] = os.environ) -> int | None:
    """The number of threads that the user has set in the environment; None if it was not set, or by us."""
    if _OURS in environment:
        return None
    for name in _COUNTS:
        first = environment.get(name, "").partition(",")[0].strip()  # OpenMP takes a number for each level
        if first.isdecimal() and int(first) > 0:
            return int(first)
    return None


def share_of_threads(count: int) -> int:
    """Threads of each of several processes, at least one."""
    return given_threads() or max(1, allowed_threads() // max(count, 1))


def prepare_environment(environment: MutableMapping[str, str] = os.environ, root: Path = Path("/")) -> None:
    """Set how many threads libraries start, and how these wait for each other; before the libraries are imported.

    Args:
        environment: what is changed.
        root: where ``proc`` and ``sys`` are.
    """
    threads = given_threads(environment) or allowed_threads(root)
    if not any(environment.get(name) for name in _COUNTS):
        environment[_COUNT], environment[_OURS] = str(threads), "1"
    if not any(name in environment for name in _OWN_WORDS):
        room = any(threads <= free for free in _free_cores(root))
        environment.update(_SPINNING if room else _SLEEPING)


def sleep_at_once(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let no thread spin where we said so, in a process that has other work to do; before libraries are imported.

    Args:
        environment: as `prepare_environment` has left it.
    """
    if all(environment.get(name) == value for name, value in _SPINNING.items()):
        for name in _SPINNING:
            del environment[name]
        environment.update(_SLEEPING)


def _free_cores(root: Path) -> Iterator[int]:
    """Cores that this process may take and nobody else keeps busy, by some looks in a row.

    The system's average of a minute would still tell of the user's last command, so running threads are counted: who
    computes is among them at each look. Where the system does not tell, nobody is taken to be there.
    """
    for look in range(_LOOKS):
        if look:
            time.sleep(_BETWEEN)
        busy = max(_running(root) - 1, 0)  # this process runs too
        yield min(_cores(), (os.cpu_count() or 1) - busy)


def _running(root: Path) -> int:
    """Threads of the machine that run or could run; 1 where the system does not tell."""
    try:
        return int((root / "proc/loadavg").read_text(encoding="utf-8").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 1


def _cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Quotas of the process's cgroups and of all above them, in cores; nothing where there is none."""
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
    """Folders of a cgroup and of those above it; in a container, the path may be the host's and not be there."""
    own = PurePosixPath(path.strip().lstrip("/"))
    if ".." in own.parts:  # outside of the namespace
        own = PurePosixPath()
    for part in (own, *own.parents):
        yield mount / part


def _quota(*files: Path) -> Iterator[float]:
    """The quota in one file, or in two with quota and period."""
    try:
        words = [word for file in files for word in file.read_text(encoding="utf-8").split()]
        quota, period = float(words[0]), float(words[1])
    except (OSError, ValueError, IndexError):  # not there, or ``max``
        return
    if quota > 0 and period > 0:
        yield quota / period
