"""Names of options in messages: written as on the command line, and shown as arguments to Python callers.

The library writes ``--min-count`` everywhere. Errors that leave a function of the Python interface are reworded in one
place (`mclrec.crashes.refusals_as_ours`), unless a command called it. Formatting of numbers and words is here too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "as_arguments",
    "by_command",
    "commanded",
    "count_of",
    "for_caller",
    "in_quotes",
    "percent",
    "with_minus",
]

_COMMAND = re.compile(r"`?mclrec [a-z]+[^;,)`]*")
"""A command line in a message, which is left as it is."""

_OPTION = re.compile(
    r"(?<![\w-])--(?P<name>[a-z]+(?:-[a-z]+)*)"
    r"(?:[ =](?P<value>'[^']*'|\"[^\"]*\"|-?\d[\w.]*(?<!\.)|[A-Z]+\b|\w+=[A-Z]+\b))?"
)
_CHOICE = re.compile(r"--(device|encoding|engine|export|format|index|model|quote|recipe|ties) ([a-z][\w-]*)")
"""Options whose value is a word."""

_PROSE = {"says", "reads", "that", "is", "and", "or", "out", "takes", "cannot", "to"}

_ROLES = ("user", "item", "time", "sequence")

_commanded = False


@contextmanager
def by_command() -> Iterator[None]:
    """Let messages raised in the block name options as on the command line."""
    global _commanded
    before, _commanded = _commanded, True
    try:
        yield
    finally:
        _commanded = before


def commanded() -> bool:
    """Whether the command line is running, not a Python program."""
    return _commanded


def for_caller(message: str) -> str:
    """A message that names options the way its reader uses them: on the command line, or as Python arguments."""
    return message if _commanded else as_arguments(message)


def as_arguments(message: str) -> str:
    """A message with options rewritten as Python arguments; command lines in it stay as they are.

    >>> as_arguments("--min-count 2 keeps 8 rows, --no-header none; say --ties file, or mclrec train --resume")
    "min_count=2 keeps 8 rows, header=False none; say ties='file', or mclrec train --resume"
    """
    parts, end = [], 0
    for command in _COMMAND.finditer(message):
        parts += [_reworded(message[end : command.start()]), command[0]]
        end = command.end()
    return "".join([*parts, _reworded(message[end:])])


def _reworded(text: str) -> str:
    text = _CHOICE.sub(
        lambda found: found[0] if found[2] in _PROSE else f"--{found[1]} '{found[2]}'",
        text,
    )
    return _OPTION.sub(_argument, text)


def _argument(found: re.Match[str]) -> str:
    name, value = found["name"], found["value"]
    role = name.removesuffix("-column")
    if role != name and role in _ROLES:
        return f"columns=Columns({role}={value or '...'})"
    if name == "file-order":
        return "columns=Columns(file_order=True)"
    if name.startswith("no-"):
        return f"{name.removeprefix('no-').replace('-', '_')}=False"
    if name == "set":
        return value or "an argument"
    argument = name.replace("-", "_")
    return argument if value is None else f"{argument}={value}"


def percent(share: float) -> str:
    """A share as a percentage: whole numbers from 10 % on, and never rounded to 0 % or 100 %.

    >>> percent(0.4567), percent(0.0123), percent(0.00001), percent(0.99999)
    ('46 %', '1.2 %', '< 0.1 %', '> 99.9 %')
    """
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    value = 100 * share
    return f"{value:.0f} %" if value in (0, 100) or 10 <= value < 99 else f"{value:.1f} %"


def in_quotes(text: str) -> str:
    """Text quoted as one word of a command line, in double quotes unless it has characters special to a shell."""
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'


def count_of(count: int, noun: str, nouns: str | None = None) -> str:
    """A count with its noun, in the singular for one.

    Args:
        count: the number.
        noun: the singular.
        nouns: the plural; ``noun`` with an s if None.

    >>> count_of(1, "row"), count_of(1200, "row"), count_of(0, "history", "histories")
    ('1 row', '1,200 rows', '0 histories')
    """
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def with_minus(number: str) -> str:
    """A number for people to read, with a minus sign in place of the hyphen."""
    return number.replace("-", "\N{MINUS SIGN}")
