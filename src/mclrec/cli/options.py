"""Arguments and options that several commands take, and how their help shows examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

__all__ = [
    "COLUMNS",
    "DataArgument",
    "DeviceOption",
    "FileOrder",
    "ItemColumn",
    "JsonOption",
    "RunArgument",
    "SeedOption",
    "SeenOption",
    "SequenceColumn",
    "TimeColumn",
    "UserColumn",
    "columns_of",
    "examples",
    "names",
]


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])


COLUMNS = "Columns of the log"
"""Heading of their options in a command's help."""

DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="Name of a data set, path of a log, or prepared data.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run.")]
SeenOption = Annotated[
    Literal["keep", "drop"],
    typer.Option(help="Keep the items of a user's history as candidates (protocol U) or drop them (F)."),
]
SeedOption = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of everything random.")]
DeviceOption = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UserColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=COLUMNS, help="Of the user; guessed if not given."),
]
ItemColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=COLUMNS, help="Of the item; guessed if not given."),
]
TimeColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=COLUMNS, help="Of the time; guessed if not given."),
]
SequenceColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=COLUMNS, help="That orders rows of the same time."),
]
FileOrder = Annotated[
    bool,
    typer.Option(
        "--file-order", rich_help_panel=COLUMNS, help="The log has no time; its rows stand in order."
    ),
]


def columns_of(
    user: str | None, item: str | None, time: str | None, sequence: str | None, file_order: bool
) -> dict[str, Any]:
    """Keywords of `Columns`: what was given."""
    named = {"user": user, "item": item, "time": time, "sequence": sequence, "file_order": file_order or None}
    return {role: value for role, value in named.items() if value is not None}


def names(text: str | None) -> list[str]:
    """Comma-separated names."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]
