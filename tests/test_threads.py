"""Number of threads by affinity, quota and the user's environment, of which the last takes precedence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load.spinning import busy
from mclrec import threads
from mclrec.threads import (
    allowed_threads,
    given_threads,
    prepare_environment,
    share_of_threads,
    sleep_at_once,
)


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores by affinity, and no thread count set by the user."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def no_words() -> dict[str, str]:
    """The environment without variables that concern threads."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OMP_", "MKL_", "GOMP_", "KMP_"))
    }


def system(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    for place, text in {"proc/self/cgroup": cgroup, **files}.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text, encoding="utf-8")
    return root


V2 = "sys/fs/cgroup/"
V1 = "sys/fs/cgroup/cpu,cpuacct/"


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("cgroup", "files", "wanted"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {V2 + "cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {V2 + "cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {V2 + "cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {V2 + "cpu.max": "1000 100000\n"}, 1),
        ("0::/\n", {V2 + "cpu.max": "9900000 100000\n"}, 8),
        ("0::/a/b\n", {V2 + "a/cpu.max": "300000 100000\n", V2 + "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/a/b\n", {V2 + "a/cpu.max": "300000 100000\n", V2 + "a/b/cpu.max": "50000 50000\n"}, 1),
        ("0::/../other\n", {V2 + "cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {V2 + "cpu.max": "what\n"}, 8),
        ("0::/\n", {V2 + "cpu.max": "0 0\n"}, 8),
        ("4:cpu,cpuacct:/\n", {V1 + "cpu.cfs_quota_us": "250000", V1 + "cpu.cfs_period_us": "100000"}, 3),
        ("4:cpu,cpuacct:/\n", {V1 + "cpu.cfs_quota_us": "-1", V1 + "cpu.cfs_period_us": "100000"}, 8),
        (
            "5:memory:/x\n4:cpu,cpuacct:/docker/abc\n",
            {V1 + "cpu.cfs_quota_us": "100000", V1 + "cpu.cfs_period_us": "100000"},
            1,
        ),
        ("7:cpuset:/\n", {V1 + "cpu.cfs_quota_us": "100000", V1 + "cpu.cfs_period_us": "100000"}, 8),
        ("nonsense\n", {}, 8),
    ],
)
def test_quota(tmp_path: Path, cgroup: str, files: dict[str, str], wanted: int) -> None:
    assert allowed_threads(system(tmp_path, cgroup, files)) == wanted


@pytest.mark.usefixtures("cores")
def test_a_system_without_cgroups(tmp_path: Path) -> None:
    assert allowed_threads(tmp_path) == 8


def test_the_user_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "allowed_threads", lambda *_: 4)
    environment = {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "ACTIVE"}
    before = dict(environment)
    prepare_environment(environment)
    assert environment == before
    assert given_threads(environment) == 7
    assert given_threads({"OMP_NUM_THREADS": "3,2"}) == 3
    for empty in ({}, {"OMP_NUM_THREADS": ""}, {"OMP_NUM_THREADS": "many"}):
        assert given_threads(empty) is None
    spinning = {"GOMP_SPINCOUNT": "9"}
    prepare_environment(spinning)
    assert "OMP_WAIT_POLICY" not in spinning


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("running", "given", "files", "spins"),
    [
        ("1/91", {}, {}, True),
        ("0/0", {}, {}, True),  # a sandbox that does not report it
        ("2/91", {}, {}, False),
        ("2/91", {"OMP_NUM_THREADS": "7"}, {}, True),
        ("9/91", {"OMP_NUM_THREADS": "1"}, {}, False),
        ("1/91", {"OMP_NUM_THREADS": "9"}, {}, False),  # more threads than cores
        ("7/91", {}, {V2 + "cpu.max": "150000 100000\n"}, True),  # two threads, on the last two cores
        ("what", {}, {}, True),
    ],
)
def test_threads_spin_where_nobody_else_wants_the_cores(
    running: str,
    given: dict[str, str],
    files: dict[str, str],
    spins: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    environment = dict(given)
    root = system(tmp_path, "0::/\n", files | {"proc/loadavg": f"9.00 9.00 9.00 {running} 4711\n"})
    prepare_environment(environment, root)
    assert ("GOMP_SPINCOUNT" in environment, "OMP_WAIT_POLICY" in environment) == (spins, not spins)


@pytest.mark.usefixtures("cores")
def test_cores_of_others_are_no_reason_to_sleep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)  # eight of them are ours
    environment: dict[str, str] = {}
    prepare_environment(
        environment, system(tmp_path, "0::/\n", {"proc/loadavg": "50.0 50.0 50.0 57/900 4711\n"})
    )
    assert "GOMP_SPINCOUNT" in environment


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell how many threads run")
def test_processes_that_compute_are_seen() -> None:
    found = "from mclrec.threads import prepare_environment as p; e = {}; p(e); print('OMP_WAIT_POLICY' in e)"
    ours = sorted(os.sched_getaffinity(0))
    with busy([ours[number % len(ours)] for number in range(os.cpu_count() or 1)]):
        done = subprocess.run([sys.executable, "-c", found], env=no_words(), capture_output=True, check=True)
    assert done.stdout.strip() == b"True"


def test_a_process_with_other_work_lets_no_thread_spin(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    prepare_environment(environment, tmp_path)
    assert "GOMP_SPINCOUNT" in environment
    sleep_at_once(environment)
    assert (environment["OMP_WAIT_POLICY"], "GOMP_SPINCOUNT" in environment) == ("PASSIVE", False)
    given = {"GOMP_SPINCOUNT": "9"}
    sleep_at_once(given)
    assert given == {"GOMP_SPINCOUNT": "9"}


def test_the_service_says_so_before_pytorch_is_there() -> None:
    code = (
        "import sys; from mclrec.cli.commands import serve\n"
        "def sleep(): print('torch' in sys.modules); sys.exit()\n"
        "serve.sleep_at_once = sleep; from mclrec.cli import main; main(['serve', 'x'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


def test_what_we_set_is_not_taken_for_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "allowed_threads", lambda *_: 4)
    environment: dict[str, str] = {}
    prepare_environment(environment, tmp_path)
    assert environment["OMP_NUM_THREADS"] == "4"
    assert given_threads(environment) is None
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert [share_of_threads(count) for count in (1, 2, 3, 9)] == [4, 2, 1, 1]


def test_pytorch_has_what_was_set() -> None:
    code = (
        "from mclrec.threads import prepare_environment, allowed_threads; prepare_environment(); import torch; "
        "print(torch.get_num_threads() == allowed_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=no_words(), capture_output=True, check=True)
    assert done.stdout.strip() == b"True"
