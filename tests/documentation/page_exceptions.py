"""What of the pages' code does not run as it is printed: the entries of ``exceptions.toml``, each with its reason."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.documented import Block

from scripts.check_migration import PAGES as WITH_PEERS

__all__ = ["Exceptional", "exceptional_block", "exceptions", "lines_of", "normal", "script"]


@dataclass(frozen=True, slots=True)
class Exceptional:
    """A block or a line of a page that is not run as it is printed.

    Attributes:
        page: its path in the repository.
        reason: why, and where it is tested instead.
        block: first line of the block, if it is a whole one.
        line: a line of a shell block, without its comment and with single blanks.
        instead: what is run in the place of the line; nothing if empty.
    """

    page: str
    reason: str
    block: str = ""
    line: str = ""
    instead: str = ""


def exceptions() -> list[Exceptional]:
    """The entries of ``exceptions.toml``."""
    text = (Path(__file__).parent / "exceptions.toml").read_text(encoding="utf-8")
    return [Exceptional(page, **entry) for page, entries in tomllib.loads(text).items() for entry in entries]


def exceptional_block(block: Block) -> Exceptional | None:
    """The entry of a whole block, if it has one."""
    first = block.text.split("\n", 1)[0].strip()
    if block.page in WITH_PEERS.values():
        return Exceptional(block.page, "make test-judge runs the whole page, with the real peer", block=first)
    found = (one for one in exceptions() if one.block and (one.page, one.block) == (block.page, first))
    return next(found, None)


def normal(line: str) -> str:
    """A line of a shell without its comment, and with single blanks."""
    return " ".join(re.sub(r"(^|\s)#\s.*$", "", line).split())


def lines_of(block: Block) -> Iterator[str]:
    """The logical lines of a shell block; of a console block those after a ``$``."""
    text = re.sub(r"(\s#\s[^\n]*)?\\\n", " ", block.text)
    for line in text.splitlines():
        if block.language != "console":
            yield line
        elif line.startswith("$ "):
            yield line.removeprefix("$ ")


def script(block: Block, shortened: bool = True) -> str:
    """What bash runs for a block: its lines, those of ``exceptions.toml`` exchanged, and trainings of one epoch."""
    replaced = {one.line: one.instead for one in exceptions() if one.line and one.page == block.page}
    lines = [replaced.get(normal(line), line) for line in lines_of(block)]
    return "\n".join(map(_shortened, lines) if shortened else lines)


def _shortened(line: str) -> str:
    """The line with one epoch in place of as many as it takes, and no earlier run in its way.

    A final model has the epochs of its measured run.
    """
    if found := re.match(r"mclrec train .* --out (\S+)", line):
        line = f"rm -rf {found[1]}; {line}"
    if re.search(r" --final| --minutes|--model markov", line):
        return line
    return re.sub(r"\bmclrec train ", "mclrec train --set epochs=1 ", line)
