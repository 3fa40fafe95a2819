"""Every block on the pages is run or has a reason not to be, and every such entry matches a block or a line."""

from __future__ import annotations

import re

import pytest
from tests.documentation.page_exceptions import (
    Exceptional,
    exceptional_block,
    exceptions,
    lines_of,
    normal,
    script,
)
from tests.documented import PAGES, ROOT, SHELLS, Block, blocks

ENTRIES = exceptions()


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_why_it_is_not(page: str) -> None:
    for block in blocks(page):
        if block.language not in SHELLS | {"python"}:
            assert exceptional_block(block), (
                f"{page}:{block.line}: a block of {block.language or 'no language'} is not run; "
                "give it a language, or list it with a reason in tests/documentation/exceptions.toml"
            )


@pytest.mark.parametrize("page", PAGES)
def test_no_service_is_waited_for(page: str) -> None:
    for block in blocks(page):
        if block.language in SHELLS and not exceptional_block(block):
            for line in script(block).splitlines():
                waited = re.search(r"\bmclrec serve\b[^&]*$", line)
                assert not waited, (
                    f"{page}:{block.line}: {line} serves until it is ended: put `& await` after it"
                )


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.page}-{entry.block or entry.line}")
def test_an_entry_fits_one_thing_and_its_reason_leads_somewhere(entry: Exceptional) -> None:
    found = [block for block in blocks(entry.page) if exceptional_block(block) == entry]
    lines = [line for block in blocks(entry.page) if block.language in SHELLS for line in lines_of(block)]
    fits = len(found) if entry.block else sum(normal(line) == entry.line for line in lines)
    assert fits == 1, f"{entry.page}: {entry.block or entry.line!r} is there {fits} times"
    assert bool(entry.block) != bool(entry.line)
    assert entry.reason
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for path in re.findall(r"\b(?:tests|docs|results)/[\w/.]*\w", entry.reason):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"\bmake ([a-z-]+)", entry.reason):
        assert f"\n{target}:" in makefile or target == "such", target


def test_lines_are_exchanged_and_trainings_are_short() -> None:
    block = Block(
        "README.md",
        1,
        "sh",
        "make demo     # trains\nmclrec train a.csv \\\n  --seed 1\nmclrec train b --final a\n",
    )
    assert script(block).splitlines() == [
        "",
        "mclrec train --set epochs=1 a.csv    --seed 1",
        "mclrec train b --final a",
    ]


def test_a_console_block_has_commands_behind_a_dollar_and_output_below() -> None:
    block = Block("none.md", 1, "console", "$ mclrec models   # all\nmclrec\n$ echo 1\n1\n")
    assert list(lines_of(block)) == ["mclrec models   # all", "echo 1"]
    assert normal("mclrec  train 'a#b'  # note") == "mclrec train 'a#b'"
