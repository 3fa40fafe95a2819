"""Fresh virtual environments, in which packages are tried as their users install them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["CONSTRAINTS", "EmptyEnvironment", "call", "newcomers_variables", "torch_pin"]

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"


def call(*words: str | Path, folder: Path | None = None, variables: Mapping[str, str] | None = None) -> None:
    """Run a command; if it fails, exit with a message."""
    if status := subprocess.call(words, cwd=folder, env=variables):  # noqa: S603 - our own words
        sys.exit(f"{' '.join(map(str, words))} ended with status {status}")


def newcomers_variables() -> dict[str, str]:
    """Environment variables, without those that point to our code or data."""
    hidden = ("PYTHON", "MCLREC", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


def torch_pin(pins: Path = CONSTRAINTS) -> str:
    """The line ``torch==VERSION`` of a constraints file."""
    [torch] = re.findall(r"^torch==\S+$", pins.read_text(encoding="utf-8"), re.MULTILINE)
    return str(torch)


class EmptyEnvironment:
    """A virtual environment, and how to install into it.

    Args:
        folder: folder of the environment.
        pins: constraints file with the versions to install.
    """

    def __init__(self, folder: Path, pins: Path = CONSTRAINTS) -> None:
        self.folder, self._pins = folder, pins
        self.bin = folder / "bin"
        self.python = self.bin / "python"

    def create(self) -> None:
        """Create it with torch alone, in its exact version, from the index ``TORCH_INDEX`` if that is set."""
        call(sys.executable, "-m", "venv", "--clear", self.folder)
        index = os.environ.get("TORCH_INDEX")
        self._pip("--no-deps", *(["--index-url", index] if index else []), torch_pin(self._pins))

    def install(self, *requirements: str | Path) -> None:
        """Install packages and their dependencies in the pinned versions."""
        self._pip("--constraint", self._pins, *requirements)

    def _pip(self, *words: str | Path) -> None:
        call(self.python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *words)
