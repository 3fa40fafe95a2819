"""Virtual environments of the peers, one each under .venv-peers/, installed when first needed."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.processes import ROOT, BenchmarkError

__all__ = ["peer_python"]

_FOLDER = ROOT / ".venv-peers"
_STAMP = "requirements.sha256"
_OURS, _OURS_STAMP = "with-mclrec.txt", "with-mclrec.sha256"


def peer_python(name: str, console: Console, *, with_ours: bool = False) -> Path:
    """Python interpreter of a peer's environment, which is installed first if it lacks its pinned requirements.

    If the peer requires torch, it is installed before the rest, in the exact version that we use, which then satisfies
    the peer's own requirement. ``TORCH_INDEX`` names another index for it, as in the Makefile.

    Args:
        name: name of the peer.
        console: prints what is being installed.
        with_ours: whether to install mclrec there too; none of the peer's packages changes.

    Raises:
        BenchmarkError: the installation failed.
    """
    requirements = ROOT / "benchmarks" / "peers" / f"{name}.txt"
    directory = _FOLDER / name
    python = directory / "bin" / "python"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not _is_stamped(directory / _STAMP, wanted):
        _install(name, requirements, console)
        (directory / _STAMP).write_text(wanted, encoding="utf-8")
    if with_ours:
        _add_ours(name, console)
    return python


def _is_stamped(stamp: Path, wanted: str) -> bool:
    return stamp.exists() and stamp.read_text(encoding="utf-8") == wanted


def _add_ours(name: str, console: Console) -> None:
    """Install mclrec and its dependencies into a peer's environment; none of the peer's packages changes."""
    requirements = ROOT / "benchmarks" / _OURS
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    directory = _FOLDER / name
    if _is_stamped(directory / _OURS_STAMP, wanted):
        return
    console.print(f"installing mclrec into {directory.relative_to(ROOT)}")
    log = _FOLDER / f"{name}.log"
    _call([*_pip(directory), "--no-deps", "--requirement", str(requirements)], log)
    _call([*_pip(directory), "--no-deps", "--editable", str(ROOT)], log)
    (directory / _OURS_STAMP).write_text(wanted, encoding="utf-8")


def _install(name: str, requirements: Path, console: Console) -> None:
    """Create a peer's environment from scratch."""
    directory = _FOLDER / name
    torch = _torch_pin(requirements)
    console.print(f"installing {name} into {directory.relative_to(ROOT)}")
    log = _FOLDER / f"{name}.log"
    _FOLDER.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    _call([sys.executable, "-m", "venv", "--clear", str(directory)], log)
    install = _pip(directory)
    index = os.environ.get("TORCH_INDEX")
    if torch is not None:
        _call([*install, "--no-deps", *(["--index-url", index] if index else []), torch], log)
    _call([*install, "--requirement", str(requirements)], log)


def _pip(directory: Path) -> list[str]:
    return [str(directory / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]


def _torch_pin(requirements: Path) -> str | None:
    """The peer's torch requirement, which must pin the same version as ours; None for a peer without torch.

    Raises:
        BenchmarkError: the versions differ.
    """
    pins = [
        re.findall(r"^torch==.+$", path.read_text(encoding="utf-8"), re.MULTILINE)
        for path in (requirements, ROOT / "constraints.txt")
    ]
    if not pins[0]:
        return None
    if len(pins[0]) != 1 or pins[0] != pins[1]:
        raise BenchmarkError(f"{requirements.name} and constraints.txt must pin the same torch: {pins}")
    return str(pins[0][0])


def _call(words: list[str], log: Path) -> None:
    with log.open("ab") as output:
        status = subprocess.run(words, stdout=output, stderr=output, check=False, cwd=ROOT).returncode
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:]
        raise BenchmarkError(f"{' '.join(words)} failed, see {log.relative_to(ROOT)}:\n" + "\n".join(lines))
