"""The site's reference: the names of ``mclrec``, the commands and the models, in Markdown made from the code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

import mclrec
from mclrec.cli.app import app
from mclrec.cli.commands.listing import describe_model, list_models

__all__ = ["NAMES", "commands_page", "models_page", "python_page"]

NAMES = {
    "Data": (
        "load", "prepare", "datasets", "register_dataset", "export_split", "Columns", "Reading", "SequenceData",
    ),
    "Training": ("train", "tune", "finalize", "update", "Run", "models", "register_model", "Entry"),
    "Measuring": ("evaluate", "backtest", "compare", "judge", "reproduce", "write_report"),
    "Recommending": ("Model", "Query", "export", "push_to_hub", "serve"),
    "Errors": ("MclrecError", "MclrecWarning"),
}  # fmt: skip
"""The public names of the package by purpose; ``__version__`` is explained in the page's first line."""

_ANNOTATION = re.compile(r" <\w+>$")
"""The type that typer appends to the name of an argument."""

_ELSEWHERE = {"models": "mclrec.models.registry.summaries"}
"""Names that are documented where they are defined: `mclrec.models` is a package too."""


def python_page() -> str:
    """The page of the public names.

    Raises:
        ValueError: a public name has no place on the page, or the page has a name that is not public.
    """
    listed = {name for names in NAMES.values() for name in names} | {"__version__"}
    if different := listed ^ set(mclrec.__all__):
        raise ValueError(
            f"scripts/site_reference.py and mclrec.__all__ differ in {', '.join(sorted(different))}"
        )
    lines = ["# Python", "", "All of these are names of `mclrec`; `mclrec.__version__` is the version.", ""]
    for title, names in NAMES.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += [f"::: {_ELSEWHERE.get(name, f'mclrec.{name}')}"]
            lines += ["    options:", f"      heading: mclrec.{name}", f"      toc_label: {name}", ""]
    return "\n".join(lines)


def commands_page() -> str:
    """The page of the commands: what their ``--help`` says."""
    group: Any = typer.main.get_command(app)
    lines = ["# Command line", "", f"{group.help}", ""]
    lines += ["`mclrec --help` and `mclrec COMMAND --help` say the same in a terminal.", ""]
    names = list(group.commands)
    lines += _table(("command", "what"), [(f"[`{name}`](#{name})", _first(group, name)) for name in names])
    for name in names:
        lines += _command(name, group.commands[name])
    return "\n".join(lines)


def models_page() -> str:
    """The page of the models: what ``mclrec models`` and ``mclrec models NAME`` say."""
    found = list_models()
    lines = ["# Models", "", "`mclrec models` lists them, and `mclrec models NAME` describes one.", ""]
    rows = [
        (f"[`{name}`](#{name})", one["title"], one["year"] or "", one["paper"]) for name, one in found.items()
    ]
    lines += _table(("name", "title", "year", "paper"), rows)
    for name in found:
        lines += _model(describe_model(name))
    return "\n".join(lines)


def _first(group: Any, name: str) -> str:
    return str(group.commands[name].help).partition("\n\n")[0]


def _command(name: str, command: Any) -> list[str]:
    context = typer.Context(command, info_name=f"mclrec {name}")
    usage = command.get_usage(context).removeprefix("Usage: ")
    lines = [f"## {name}", "", str(command.help), "", "```text", usage, "```", ""]
    for parameter in command.get_params(context):
        record = None if parameter.hidden else parameter.get_help_record(context)
        if record:
            lines += [f"`{_ANNOTATION.sub('', record[0])}`", f":   {_escaped(record[1])}", ""]
    if command.epilog:
        examples = [line.strip() for line in command.epilog.splitlines()[1:]]
        lines += ["```text", *examples, "```", ""]
    return lines


def _model(found: Mapping[str, Any]) -> list[str]:
    lines = [f"## {found['name']}", "", f"{found['title']}: {found['paper']}", ""]
    for title in ("settings", "training"):
        rows = [
            (f"`{key}`", _shown(one["default"]), one["allowed"], one["description"])
            for key, one in (found.get(title) or {}).items()
        ]
        if rows:
            lines += _table((title, "default", "allowed", "what"), rows)
    recipes = found.get("recipes") or {}
    if recipes:
        lines += _table(("recipe", "source"), [(f"`{key}`", one["source"]) for key, one in recipes.items()])
    return lines


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _escaped(cell: object) -> str:
    """Text on one line, with Markdown's special characters escaped except in code."""
    parts = re.split(r"(`[^`]*`)", " ".join(str(cell).split()))
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def _plain(text: str) -> str:
    return re.sub(r"([*_])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = [_escaped(cell).replace("|", "\\|") for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]
