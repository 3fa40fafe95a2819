"""Run the pages for users of RecBole and RecTools as they are written, with the real peers: ``make test-judge``.

The blocks of a page run in order, in its own folder: ``yaml`` blocks that begin with ``# NAME`` become files, commands
in ``bash`` blocks run here, and ``python`` blocks run in the peer's environment, all in one process. A block without a
language after one of these is its expected output: the page is wrong if the words differ, or if a number differs by
more than another machine explains. ``--write`` replaces the expected output with what was printed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from benchmarks.environments import peer_python
from benchmarks.processes import ROOT, BenchmarkError

PAGES = {"recbole": "docs/from-recbole.md", "rectools": "docs/from-rectools.md"}
NEAR = 0.03
"""Largest difference between two decimal numbers that agree.

Training on another processor rounds differently, and among 300 users a few hits then change: three standard errors of
their hit rate.
"""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECONDS = re.compile(r"\d+(\.\d+)? s\b")
_NUMBER = re.compile(r"\d+\.\d+")
_TITLE = re.compile(r"# (\S+\.\w+)\n")


class Block(NamedTuple):
    """A block of code of a page: its language, its text, and where the text begins and ends."""

    language: str
    text: str
    start: int
    end: int


class PageError(Exception):
    """Raised for a block that fails, or prints something other than the page says."""


def blocks(page: str) -> list[Block]:
    return [Block(found[1], found[2], found.start(2), found.end(2)) for found in _FENCE.finditer(page)]


def environment() -> dict[str, str]:
    """Environment variables for what pages run: one thread, our source, no colours."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }


class Session:
    """A process of the peer's Python that runs blocks in one namespace."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, code: str, place: str) -> str:
        """Run a block and return what it printed.

        Raises:
            PageError: it failed.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise PageError("the process has no pipes")
        self._process.stdin.write(json.dumps({"code": code, "place": place}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise PageError(f"{place}: the process ended")
        answer = json.loads(line)
        if answer["error"]:
            raise PageError(f"{place}: {answer['error']}")
        return "".join(f"{one.rstrip()}\n" for one in str(answer["output"]).splitlines())


@contextmanager
def session(python: Path, folder: Path) -> Iterator[Session]:
    command = [str(python), str(ROOT / "scripts" / "page_session.py")]
    with subprocess.Popen(  # noqa: S603 - our own words
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment()
    ) as process:
        try:
            yield Session(process)
        finally:
            process.terminate()


def run_commands(text: str, folder: Path, place: str) -> str:
    """Run the commands of a block and return what they printed.

    Raises:
        PageError: a command failed, or is not one of mclrec.
    """
    printed = ""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] != "mclrec":
            raise PageError(f"{place}: {words[0]}: only commands of mclrec are run")
        redirected = {word for word in words if ">" in word}
        command = [sys.executable, "-m", *(word for word in words if ">" not in word)]
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, cwd=folder, env=environment(), check=False
        )
        if done.returncode:
            raise PageError(f"{place}: {line}: status {done.returncode}\n{done.stderr}")
        text = "" if ">/dev/null" in redirected else done.stdout
        text = f"{done.stderr}{text}" if "2>&1" in redirected else text
        printed += "".join(f"{one.rstrip()}\n" for one in text.splitlines())
    return printed


def agree(printed: str, told: str) -> bool:
    """Whether two texts are the same except for durations and the last digits of decimal numbers."""
    printed, told = (_SECONDS.sub("0 s", text) for text in (printed, told))
    numbers, others = ([float(one) for one in _NUMBER.findall(text)] for text in (printed, told))
    words = [_NUMBER.sub("#", text).split() for text in (printed, told)]
    return words[0] == words[1] and all(
        abs(one - other) <= NEAR for one, other in zip(numbers, others, strict=True)
    )


def check_page(name: str, python: Path, *, write: bool) -> None:
    """Run the blocks of a page, and check what they print or write it into the page.

    Raises:
        PageError: a block fails, or prints something other than the page says.
    """
    path = ROOT / PAGES[name]
    page, printed, changes = path.read_text(encoding="utf-8"), None, []
    with tempfile.TemporaryDirectory(prefix="page-") as temporary, session(python, Path(temporary)) as peer:
        for block in blocks(page):
            place = f"{PAGES[name]}:{page.count(chr(10), 0, block.start)}"
            title = _TITLE.match(block.text)
            if title and block.language == "yaml":
                (Path(temporary) / title[1]).write_text(block.text, encoding="utf-8")
            elif not block.language and printed is not None:
                changes.append((block, printed))
                if not write and not agree(printed, block.text):
                    raise PageError(f"{place}: what is printed is\n{printed}")
            began = time.perf_counter()
            printed = None
            if block.language == "python":
                printed = peer.run(block.text, place)
            elif block.language == "bash":
                printed = run_commands(block.text, Path(temporary), place)
            if printed is not None:
                print(f"{place} ({time.perf_counter() - began:.1f} s)", flush=True)
    if write:
        for block, text in reversed(changes):
            page = page[: block.start] + text.rstrip("\n") + "\n" + page[block.end :]
        path.write_text(page, encoding="utf-8")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write what blocks print into the pages")
    parser.add_argument("--only", choices=sorted(PAGES), help="one of the pages")
    given = parser.parse_args(words)
    for name in [given.only] if given.only else sorted(PAGES, reverse=True):
        python = peer_python(name, Console(), with_ours=name == "rectools")
        began = time.perf_counter()
        check_page(name, python, write=given.write)
        print(f"{PAGES[name]}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (BenchmarkError, PageError) as problem:
        sys.exit(str(problem))
