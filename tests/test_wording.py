"""Messages name options that exist: as options on the command line, as arguments in the Python interface."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import typer

import mclrec
from mclrec.cli.commands import app
from mclrec.crashes import refusals_as_ours
from mclrec.errors import ConfigError, DataError
from mclrec.wording import as_arguments, by_command

SOURCE = Path(mclrec.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*")


def options() -> set[str]:
    """All options of all commands."""
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    found = {"--help"}
    for command in commands:
        for parameter in command.params:
            found |= {name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--")}
    return found


def raised() -> Iterator[tuple[Path, str]]:
    """Texts of exceptions and warnings in the source, outside the command line."""
    for path in sorted(SOURCE.rglob("*.py")):
        if "cli" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) or (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in ("warnings.warn", "DataError", "Warned")
            ):
                for part in ast.walk(node):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield path, part.value


def test_options_in_messages_exist_and_have_one_form() -> None:
    known, texts = options(), list(raised())
    named = {found for _, text in texts for found in OPTION.findall(text)}
    assert named <= known, named - known
    assert len(named) > 15
    python = {name[2:].replace("-", "_") for name in known if "-" in name[2:]} - {"batch_size"}
    wrong = [
        (path.name, text)
        for path, text in texts
        for word in re.findall(r"\w+_\w+", text)
        if word in python and " " in text
    ]
    assert wrong == []
    left = [
        as_arguments(text) for _, text in texts if "mclrec " not in text and OPTION.search(as_arguments(text))
    ]
    assert left == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("use --ties file; if not, use --ties hash", "use ties='file'; if not, use ties='hash'"),
        ("--min-count 1 keeps all", "min_count=1 keeps all"),
        ("a smaller --min-count keeps more", "a smaller min_count keeps more"),
        ("--where 'a = 1' is true for none", "where='a = 1' is true for none"),
        ("name another --time-column or take --file-order", None),
        ("fix it with --set key=VALUE", "fix it with key=VALUE"),
        ("finish it with mclrec train --resume", "finish it with mclrec train --resume"),
        ("train-- it -- at --", "train-- it -- at --"),
        ("--encoding says what it is", "encoding says what it is"),
    ],
)
def test_arguments(message: str, expected: str | None) -> None:
    if expected is None:
        expected = "name another columns=Columns(time=...) or take columns=Columns(file_order=True)"
    assert as_arguments(message) == expected
    assert as_arguments(expected) == expected


def test_the_door_rewords_and_a_command_does_not() -> None:
    @refusals_as_ours()
    def refused() -> None:
        raise ConfigError("give another --out")

    with pytest.raises(ConfigError, match="give another out"):
        refused()
    with by_command(), pytest.raises(ConfigError, match="give another --out"):
        refused()


_NOUNS = re.compile(
    r" (rows|users|items|interactions|targets|histories|epochs|steps|files|runs|trials|candidates|seeds|columns|"
    r"threads|lines|ids|values|examples)\b"
)
_NEVER_ONE = {
    *(
        "len(plan.runs)",
        "len(progress.runs)",
        "len(found)",
        "len(files)",
        "count",
        "len(examples)",
        "kinds.get('seeds')",
    ),
    *("before.rows", "before.users", "left.users", "found.rows", "num_items", "each"),
    "longest or 'any number of'",
    *(
        "index.ntotal",
        "len(self.weight)",
        "np.median(targets.history_lengths)",
        "_HELD_OUT",
        "_USUAL[1]",
        "label",
    ),
    *("self.part", "part", "len(names)", "empty"),
}
"""Values before a plural that are always more than one, follow "of", or are words."""


def test_counts_agree_with_their_nouns() -> None:
    """A number before a plural is written using `count_of`, which chooses singular or plural."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                for value, text in pairwise(node.values):
                    if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                        found = _NOUNS.match(str(text.value))
                        assert not found or ast.unparse(value.value) in _NEVER_ONE, (
                            f"{path}: {ast.unparse(node)}"
                        )


def test_a_message_stays_bounded_when_its_options_become_arguments() -> None:
    @refusals_as_ours()
    def refuse() -> None:
        raise DataError("--user-column " * 21 + "the end")

    with pytest.raises(DataError) as told:
        refuse()
    assert len(str(told.value)) <= 300
    assert str(told.value).endswith("the end")
