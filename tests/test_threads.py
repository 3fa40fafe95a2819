"""Threads by affinity, quota and the user's word, in this order of strength from the last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mclrec import threads
from mclrec.threads import allowed_threads, given_threads, prepare_environment, share_of_threads


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores by affinity, and no word of the user."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


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
    monkeypatch.setattr(threads, "allowed_threads", lambda: 4)
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


def test_what_we_set_is_not_taken_for_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "allowed_threads", lambda: 4)
    environment: dict[str, str] = {}
    prepare_environment(environment)
    assert (environment["OMP_NUM_THREADS"], environment["OMP_WAIT_POLICY"]) == ("4", "PASSIVE")
    assert given_threads(environment) is None
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert [share_of_threads(count) for count in (1, 2, 3, 9)] == [4, 2, 1, 1]


def test_pytorch_has_what_was_set() -> None:
    code = (
        "from mclrec.threads import prepare_environment, allowed_threads; prepare_environment(); import torch; "
        "print(torch.get_num_threads() == allowed_threads())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout.strip() == b"True"
