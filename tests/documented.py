"""Code blocks and commands of the project's pages, for the documentation tests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

__all__ = ["PAGES", "ROOT", "SHELLS", "Block", "blocks", "commands", "inline_commands", "of_line"]

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")),
]
SHELLS = {"sh", "bash", "console"}
"""Languages of blocks with shell commands; in ``console`` blocks, commands follow a ``$``, with their output below."""

_REDIRECTED = re.compile(r"\s\d?>[>&]?\s*\S+")
_WHERE_A_COMMAND_ENDS = {"&&", "&", "|", ";", "||"}


class Block(NamedTuple):
    """A code block of a page, fenced or indented, inside a list or not."""

    page: str
    line: int
    language: str
    text: str


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """The code blocks of a page, as a Markdown parser finds them."""
    found = MarkdownIt("commonmark").parse((ROOT / page).read_text(encoding="utf-8"))
    return tuple(
        Block(page, token.map[0] + 1, token.info.strip(), token.content)
        for token in found
        if token.type in ("fence", "code_block") and token.map is not None
    )


def commands(page: str, program: str = "mclrec") -> Iterator[list[str]]:
    """The words of each command of a program in a page's shell blocks, after the program's name."""
    for block in blocks(page):
        if block.language in SHELLS:
            lines = block.text.replace("\\\n", " ").splitlines()
            if block.language == "console":
                lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
            for line in lines:
                yield from of_line(line, program)


def inline_commands(page: str, program: str = "mclrec") -> Iterator[list[str]]:
    """The words of each command of a program in a page's running text."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    for block in blocks(page):
        for number in range(block.line - 1, block.line + block.text.count("\n") + 1):
            if number < len(lines):
                lines[number] = ""
    for code in re.findall(rf"`({program} [^`]+)`", "\n".join(lines)):
        yield from of_line(" ".join(code.split()), program)


def of_line(line: str, program: str) -> Iterator[list[str]]:
    """The words of each command of a program in a shell line, after the program's name."""
    reader = shlex.shlex(_REDIRECTED.sub("", line), posix=True, punctuation_chars=";&|")
    reader.whitespace_split = True
    words: list[str] = []
    for word in [*reader, "&&"]:
        if word not in _WHERE_A_COMMAND_ENDS:
            words.append(word)
            continue
        if words[:1] == [program]:
            yield words[1:]
        words = []
