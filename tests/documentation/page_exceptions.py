"""Code on the pages that does not run as printed: the entries of ``exceptions.toml``, each with its reason."""

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
    """A block or a line of a page that is not run as printed.

    Attributes:
        page: path of the page in the repository.
        reason: why it is not run, and where it is tested instead.
        block: first line of the block, if the entry is for a whole block.
        line: a line of a shell block, without its comment and with single blanks.
        instead: command that is run in place of the line; nothing is run if empty.
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
    """A shell line without its comment and with single blanks."""
    return " ".join(re.sub(r"(^|\s)#\s.*$", "", line).split())


def lines_of(block: Block) -> Iterator[str]:
    """The logical lines of a shell block; in a console block, only those after a ``$``."""
    text = re.sub(r"(\s#\s[^\n]*)?\\\n", " ", block.text)
    for line in text.splitlines():
        if block.language != "console":
            yield line
        elif line.startswith("$ "):
            yield line.removeprefix("$ ")


def script(block: Block, shortened: bool = True) -> str:
    """Bash script for a block: its lines, with those in ``exceptions.toml`` replaced and trainings cut to one epoch."""
    replaced = {one.line: one.instead for one in exceptions() if one.line and one.page == block.page}
    lines = [replaced.get(normal(line), line) for line in lines_of(block)]
    return "\n".join(map(_shortened, lines) if shortened else lines)


def _shortened(line: str) -> str:
    """The line with training cut to one epoch, preceded by the removal of an earlier run.

    A final model takes its number of epochs from its measured run, so its line is not changed.
    """
    if found := re.match(r"mclrec train .* --out (\S+)", line):
        line = f"rm -rf {found[1]}; {line}"
    if re.search(r" --final| --minutes|--model markov", line):
        return line
    return re.sub(r"\bmclrec train ", "mclrec train --set epochs=1 ", line)
