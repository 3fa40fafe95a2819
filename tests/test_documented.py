"""Everything that the pages tell readers to type exists: commands, options, make targets, Python names, arguments."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from typing import Any

import pytest
import typer
from tests.documented import PAGES, ROOT, blocks, commands, inline_commands, of_line

import mclrec
import mclrec.cli.commands
from mclrec.cli.app import app

GROUP: Any = typer.main.get_command(app)
WITH_COMMANDS = [page for page in PAGES if list(commands(page))]
WITH_PYTHON = [block for page in PAGES for block in blocks(page) if block.language == "python"]


def options(command: str) -> set[str]:
    return {option for parameter in GROUP.commands[command].params for option in parameter.opts} | {"--help"}


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_commands_of_a_page_parse(page: str) -> None:
    for words in commands(page):
        command = GROUP.commands[words[0]]
        command.make_context(words[0], words[1:])  # raises a usage error that says what is wrong


@pytest.mark.parametrize("name", sorted(GROUP.commands))
def test_the_examples_of_a_command_parse(name: str) -> None:
    for line in str(GROUP.commands[name].epilog or "Examples:").splitlines()[1:]:
        for words in of_line(re.sub(r"  \(.*\)$", "", line.strip()), "mclrec"):
            GROUP.commands[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_running_text_have_the_options_that_it_gives_them(page: str) -> None:
    for name, *words in inline_commands(page):
        if name in ("--help", "COMMAND"):
            continue
        assert name in GROUP.commands, f"mclrec {name}"
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given - options(name) == set(), f"mclrec {name}"


@pytest.mark.parametrize("page", PAGES)
def test_targets_of_make_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)", text)) | {words[0] for words in commands(page, "make")}
    assert named - targets == set()


@pytest.mark.parametrize("block", WITH_PYTHON, ids=lambda block: f"{block.page}-{block.line}")
def test_names_and_arguments_of_python_exist(block: Any) -> None:
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if _is_ours(node):
            assert node.attr in mclrec.__all__, node.attr  # type: ignore[attr-defined]
        if isinstance(node, ast.Call) and _is_ours(node.func):
            called = getattr(mclrec, node.func.attr)  # type: ignore[attr-defined]
            _check_arguments(called, [word.arg for word in node.keywords if word.arg])


def _is_ours(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mclrec"


def _check_arguments(called: Any, given: list[str]) -> None:
    parameters = inspect.signature(called).parameters
    if all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        assert set(given) <= set(parameters), called


def test_blocks_of_toml_parse() -> None:
    found = [block for page in PAGES for block in blocks(page) if block.language == "toml"]
    assert found
    for block in found:
        tomllib.loads(block.text)
