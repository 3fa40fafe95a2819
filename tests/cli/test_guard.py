"""Every failure of a command is one line and an exit status; unexpected exceptions also leave a crash file."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.cli.conftest import Cli
from tests.helpers import mostly_slow

from mclrec import errors
from mclrec.files import write_text

Failing = Callable[[Exception], None]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Make ``mclrec compare`` raise a given exception."""

    def arrange(problem: BaseException) -> None:
        def fail(*words: object, **options: object) -> None:
            raise problem

        monkeypatch.setattr("mclrec.runs.comparison.compare_runs", fail)

    return arrange


@pytest.fixture
def crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to which crash files are written."""
    monkeypatch.setenv("MCLREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "crashes"


def test_a_fault_of_ours_has_a_crash_file(cli: Cli, crashes: Path, failing: Failing) -> None:
    failing(ZeroDivisionError("at https://me:hidden@host/?token=hidden"))
    found = cli("compare", "markov", "sasrec")
    (path,) = crashes.iterdir()
    assert (found.status, found.out) == (1, "")
    assert found.err == (
        f"error: {path}: a bug in mclrec, ZeroDivisionError; this file has the details: please report it\n"
    )
    text = path.read_text()
    assert "command: mclrec compare markov sasrec" in text
    assert f"torch {torch.__version__.partition('+')[0]}" in text
    assert "Traceback (most recent call last):" in text
    assert "raise problem" in text
    assert "hidden" not in text
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_crash_file_goes_where_it_can(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    failing(ZeroDivisionError())
    write_text(tmp_path / "file", "")
    monkeypatch.setenv("MCLREC_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert f"error: {tmp_path}/temporary/mclrec-crash-" in cli("compare", "a", "b").err
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file" / "temporary"))
    found = cli("compare", "a", "b")
    assert found.err.startswith("error: a bug in mclrec, ZeroDivisionError; no crash file")
    assert (found.status, found.err.count("\n")) == (1, 1)


def test_keys_are_not_in_a_crash_file(cli: Cli, crashes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object, **options: object) -> None:
        raise RuntimeError(f"nothing at {options['api_key_file']}")

    monkeypatch.setattr("mclrec.serving.rest.server.serve_model", fail)
    for words in (["--api-key-file", "hidden"], ["--api-key-file=hidden"]):
        assert cli("serve", "run", *words).status == 1
    for path in crashes.iterdir():
        assert "hidden" not in path.read_text()
        assert "--api-key-file" in path.read_text()


KINDS: dict[str, tuple[Exception, str]] = {
    "full disk": (
        OSError(errno.ENOSPC, "No space left on device", "/d/.f.0123456789ab.part"),
        "/d/f: no room left",
    ),
    "full disk in a library": (RuntimeError("IO Error: No space left on device"), "no room left on the disk"),
    "forbidden": (PermissionError(errno.EACCES, "Permission denied", "/d/f"), "/d/f: permission denied"),
    "read-only": (
        OSError(errno.EROFS, "Read-only file system", "/d/f"),
        "/d/f: is on a read-only disk",
    ),
    "long name": (OSError(errno.ENAMETOOLONG, "File name too long", "n"), "n: the name is too long"),
    "circle": (OSError(errno.ELOOP, "Too many levels", "n"), "n: is a symbolic link"),
    "many files": (OSError(errno.EMFILE, "Too many open files"), "too many files are open"),
    "no UTF-8": (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "is not UTF-8"),
    "null byte": (ValueError("embedded null byte"), "null byte"),
    "memory": (MemoryError(), "not enough memory"),
    "memory of NumPy": (MemoryError("Unable to allocate 8.00 EiB for an array"), "8.00 EiB"),
    "memory of torch": (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        "not enough memory",
    ),
    "memory of a GPU": (torch.cuda.OutOfMemoryError("CUDA out of memory."), "not enough memory"),
    "sizes": (RuntimeError("Storage size calculation overflowed with sizes=[9]"), "not enough memory"),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_the_machine_refuses_is_told_by_kind(
    cli: Cli, crashes: Path, failing: Failing, name: str
) -> None:
    problem, says = KINDS[name]
    failing(problem)
    found = cli("compare", "a", "b")
    assert found.status == 2
    assert found.err.startswith("error: ")
    assert says in found.err
    assert ".part" not in found.err
    assert found.err.count("\n") == 1
    assert not crashes.exists()


def test_deep_recursion_is_a_fault(cli: Cli, crashes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object, **options: object) -> None:
        fail()

    monkeypatch.setattr("mclrec.runs.comparison.compare_runs", fail)
    found = cli("compare", "a", "b")
    assert (found.status, found.err.count("\n")) == (1, 1)
    (path,) = crashes.iterdir()
    assert path.stat().st_size < 200_000


def test_interrupted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mclrec.runs.comparison.compare_runs", lambda *_, **__: signal.raise_signal(signal.SIGINT)
    )
    assert cli("compare", "a", "b") == (130, "", "interrupted\n")


def test_warnings_of_others_are_not_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*words: object, **options: object) -> list[object]:
        warnings.warn("\x1b[31mours\x1b[0m", errors.MclrecWarning, stacklevel=1)
        warnings.warn("theirs", UserWarning, stacklevel=1)
        return []

    monkeypatch.setattr("mclrec.runs.comparison.compare_runs", warn)
    found = cli("compare", "a", "b", "--json")
    assert found == (0, "[]\n", "warning: \\x1b[31mours\\x1b[0m\n")


def test_earlier_names_of_options_are_known(cli: Cli) -> None:
    assert "--from; it is now called --warm-start" in cli("train", "log.csv", "--from", "x").err
    assert "--budget; it is now called --minutes" in cli("tune", "log.csv", "--budget", "5").err


# -------------------------------------------------------------------------------- processes

MCLREC = [sys.executable, "-m", "mclrec"]


@pytest.mark.parametrize(
    "words", mostly_slow(["models", "models mclrec", "datasets", "--help", "--version"], ["datasets"])
)
def test_output_that_cannot_be_written(words: str) -> None:
    with Path("/dev/full").open("w") as full:
        child = subprocess.run([*MCLREC, *words.split()], stdout=full, stderr=subprocess.PIPE, text=True)
    assert child.stderr == "error: the output could not be written: no space left on device\n"
    assert child.returncode == 2


@pytest.mark.parametrize("encoding", mostly_slow(["ascii", "latin-1", "utf-8"], ["ascii"]))
def test_output_in_any_encoding(world: Path, encoding: str) -> None:
    words = [*MCLREC, "recommend", "sasrec", "--history", "i1", "--k", "14", "--quiet"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    text = subprocess.run(words, capture_output=True, env=environment, check=True)
    assert text.stderr == b""
    answer = subprocess.run([*words, "--json"], capture_output=True, env=environment, check=True)
    assert "日本" in [row["item"] for row in json.loads(answer.stdout.decode(encoding))]


def test_a_name_that_is_not_utf8(cli: Cli, world: Path) -> None:
    out, log = os.fsdecode(b"run-\xff"), os.fsdecode(b"log-\xff.csv")
    found = cli("train", "log.csv", "--model", "popularity", "--out", out)
    assert (found.status, found.out) == (2, "")
    assert found.err == (
        "error: run-\\udcff: cannot be written: the name has a null byte or is not UTF-8; give another\n"
    )
    (world / "log.csv").rename(log)
    found = cli("train", log, "--model", "popularity", "--out", "run")
    told = [line for line in found.err.splitlines() if line.startswith("error: ")]
    assert (found.status, len(told)) in ((0, 0), (2, 1))
    assert (found.status == 0) == (world / "run" / "README.md").exists()


SLOW = """
import os, signal, sys, threading, time
from mclrec.cli import main
import mclrec.runs.comparison
def slow(*words, **options):
    sys.stdout.write("begun\\n"); sys.stdout.flush()
    {what}
mclrec.runs.comparison.compare_runs = slow
sys.argv = ["mclrec", "compare", "a", "b"]
main()
"""
"""A command that is busy for a minute."""


WAYS = {
    "waiting": "time.sleep(60)",
    "in a library": "import ctypes; ctypes.CDLL(None).pause()\n    ctypes.CDLL(None).sleep(60)",  # blocked in C code
    "turned into another exception": (
        "\n    try: time.sleep(60)\n    except BaseException: raise ImportError('numpy failed')"
    ),
    "with a thread": "threading.Thread(target=time.sleep, args=(60,)).start(); time.sleep(60)",
    "where nobody can catch it": (
        "\n    class Ignoring:\n        def __del__(self): time.sleep(60)\n    Ignoring(); time.sleep(60)"
    ),
}


@pytest.mark.parametrize("way", mostly_slow(WAYS, ["waiting"]))
def test_ctrl_c_ends_a_command_within_two_seconds(way: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW.format(what=WAYS[way])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        time.sleep(0.05)
        started = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (130, "interrupted\n")
    assert time.monotonic() - started < 2


OVER = """
import atexit, os, signal, sys, time
def again():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
atexit.register(again)
from mclrec.cli import main
sys.argv = ["mclrec", "--version"]
main()
"""
"""A command that is interrupted after it has finished, during Python's shutdown."""


def test_ctrl_c_after_the_end_changes_nothing() -> None:
    child = subprocess.run([sys.executable, "-c", OVER], capture_output=True, text=True, check=False)
    assert (child.returncode, child.stderr) == (0, "")
    assert child.stdout.startswith("mclrec ")
