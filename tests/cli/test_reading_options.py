"""Every field of `Reading` has an option, accepted by every command that reads a log, and round-trips through it."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer

from mclrec.cli.commands import app
from mclrec.cli.reading_options import reads_log
from mclrec.data.columns import Columns
from mclrec.data.origin import Reading
from mclrec.errors import ConfigError

COLUMNS = Columns("u", "i", "t", "s", True, "h")
READING = Reading(
    min_count=2,
    drop_repeats=True,
    columns=COLUMNS,
    header=False,
    quote="'",
    encoding="latin-1",
    time_format="%d/%m/%Y",
    drop_missing=True,
    ties="file",
    drop_duplicates=True,
    where="event = 'purchase' AND rating >= 4",
    valid="valid.csv",
    test="test.csv",
)


def parsed(words: list[str]) -> Reading:
    found: list[Reading] = []
    small = typer.Typer()

    @small.command()
    @reads_log()
    def command(*, reading: Reading) -> None:
        found.append(reading)

    typer.main.get_command(small).main(words, standalone_mode=False)
    return found[0]


def test_the_words_of_a_reading_are_read_as_that_reading() -> None:
    assert all(value not in (None, False) for name, value in READING.options().items() if name != "header")
    assert parsed(READING.words()) == READING
    assert parsed([]) == Reading()
    assert parsed(["--header"]) == Reading(header=True)
    assert parsed(shlex.split(shlex.join(READING.words()))) == READING


@pytest.mark.parametrize("name", ["prepare", "train", "tune"])
def test_commands_share_the_options(name: str) -> None:
    group = typer.main.get_command(app)
    command = group.commands[name]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    assert {word for word in READING.words() if word.startswith("--")} <= known


@pytest.mark.parametrize(
    "options", [{"quote": "x"}, {"encoding": "nothing"}, {"min_count": 0}, {"other": 1}, {"time_format": ""}]
)
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Reading.of(**options)


def test_given_fields_go_before_those_of_a_reading() -> None:
    assert Reading.of(READING, min_count=3, header=None).min_count == 3
    assert Reading.of(READING, header=None) == READING
