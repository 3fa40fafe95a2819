"""Locks: one holder at a time, which is named in refusals; a lock file left by a killed process blocks nobody."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mclrec.errors import InUseError, MclrecWarning, OutputError
from mclrec.files import atomic_directory
from mclrec.locks import LOCK_FILE, is_empty, is_held, lock_beside, lock_in

HOLD = """
import sys, time
from pathlib import Path
from mclrec.locks import lock_in
lock = lock_in(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(100)
"""


def test_the_second_is_told_who_is_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/mclrec", "train", "log.csv", "\x1b[31m" + "x" * 500])
    with lock_in(tmp_path / "run"):
        assert is_held(tmp_path / "run")
        assert is_empty(tmp_path / "run")
        with pytest.raises(InUseError) as caught:
            lock_in(tmp_path / "run", "give another --out").acquire(0)
    told = str(caught.value)
    assert told.startswith(f"{tmp_path / 'run'}: another process is writing there (mclrec train log.csv")
    assert f"process {os.getpid()} on " in told
    assert told.endswith("; give another --out")
    assert "\x1b" not in told
    assert len(told) < 300 + len(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_folder_of_the_users_stays(tmp_path: Path) -> None:
    with lock_in(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]
    assert not is_held(tmp_path)
    assert not list(tmp_path.iterdir())
    made = lock_in(tmp_path / "new").acquire()
    (tmp_path / "new" / "file").touch()
    made.release()
    made.release()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_a_killed_holder_keeps_nobody_out(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_held(tmp_path)
        with pytest.raises(InUseError, match=f"process {holder.pid} on "):
            lock_in(tmp_path).acquire(0)
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK_FILE).exists()
    assert not is_held(tmp_path)
    with lock_in(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_bytes())["pid"] == os.getpid()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b'{"pid": {"a": 1}}', b"[" * 9_999])
def test_a_damaged_lock_file_harms_nobody(content: bytes, tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_bytes(content)
    with lock_in(tmp_path):
        (tmp_path / LOCK_FILE).write_bytes(content)
        with pytest.raises(InUseError, match="another process is writing there"):
            lock_in(tmp_path).acquire(0)


def test_another_machine_that_left_it_is_named(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text('{"pid": 7, "host": "elsewhere", "command": "mclrec train"}')
    with (
        pytest.warns(MclrecWarning, match=r"was left locked by .* \(mclrec train, process 7 on elsewhere"),
        lock_in(tmp_path),
    ):
        pass


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(MclrecWarning, match="its file system has no locks"), lock_in(tmp_path):
        assert not is_held(tmp_path)


@pytest.mark.parametrize(
    ("number", "message"), [(errno.EROFS, "cannot be written: Read-only"), (errno.ENOSPC, "no room left")]
)
def test_a_place_that_cannot_be_written(
    number: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match=message):
        lock_in(tmp_path).acquire()


def test_a_file_that_was_removed_in_between_is_no_lock(tmp_path: Path) -> None:
    """A process that opened the lock file before its holder removed it locks the next file instead."""
    first = lock_in(tmp_path).acquire()
    waiting: list[bool] = []
    second = threading.Thread(target=lambda: waiting.append(bool(lock_in(tmp_path).acquire(10))))
    second.start()
    first.release()
    second.join()
    assert waiting == [True]


def test_a_folder_that_comes_and_goes_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another holder may create the folder before this one does, and remove it before this one looks."""
    make, asked = os.mkdir, [0]

    def too_late(path: Path, *arguments: int) -> None:
        asked[0] += 1
        if asked[0] == 1:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        make(path, *arguments)

    monkeypatch.setattr(os, "mkdir", too_late)
    with lock_in(tmp_path / "run"):
        assert is_held(tmp_path / "run")
    assert asked == [2]


def test_a_link_that_leads_nowhere_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "missing")
    with pytest.raises(OutputError, match="run: cannot be written: File exists"):
        lock_in(tmp_path / "run").acquire(60)


def test_many_at_once_have_it_one_after_the_other(tmp_path: Path) -> None:
    inside, most, done = [0], [0], [0]

    def work() -> None:
        for _ in range(20):
            with lock_in(tmp_path / "shared").acquire(60):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                done[0] += 1
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most[0], done[0]) == (1, 80)
    assert not list((tmp_path / "shared").glob("*"))


def test_a_directory_that_is_replaced_has_one_writer(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "out") as folder:
        (folder / "mine").touch()
        with (
            pytest.raises(InUseError, match=r"out: another process is writing there"),
            atomic_directory(tmp_path / "out"),
        ):
            pytest.fail("both write")
        lock_beside(tmp_path / "other").acquire(0).release()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
