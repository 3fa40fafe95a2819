"""Arguments and options that several commands take, and how their help shows examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

__all__ = [
    "COLUMNS",
    "DataArgument",
    "DeviceOption",
    "DropRepeats",
    "FileOrder",
    "Header",
    "ItemColumn",
    "JsonOption",
    "MinCount",
    "ModelOption",
    "RecipeOption",
    "RunArgument",
    "SeedOption",
    "SeenOption",
    "SequenceColumn",
    "SettingOption",
    "SplitOption",
    "TimeColumn",
    "TrackOption",
    "UserColumn",
    "columns_of",
    "examples",
    "names",
    "source_options",
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
ModelOption = Annotated[str, typer.Option(metavar="NAME", help="Which model; listed by: mclrec models")]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Section of the model's recipes, or a TOML file; the data set's own if not given.",
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting, may be repeated; listed by: mclrec models MODEL",
    ),
]
SplitOption = Annotated[
    Literal["leave-one-out", "time"],
    typer.Option("--split-by", help="Hold out each user's last items, or what is newest by global time."),
]
TrackOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Also write curves for: tensorboard; history.jsonl is always written."),
]
MinCount = Annotated[
    int | None,
    typer.Option(
        metavar="K",
        min=1,
        help="k-core: interactions that a user or item must have; 5 for a log if not given.",
    ),
]
DropRepeats = Annotated[
    bool, typer.Option("--drop-repeats", help="Keep only the first interaction of a user with an item.")
]
Header = Annotated[
    bool | None,
    typer.Option(
        rich_help_panel=COLUMNS, help="Whether the file begins with their names; guessed if not given."
    ),
]
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


def source_options(
    min_count: int | None, drop_repeats: bool, header: bool | None, columns: dict[str, Any]
) -> dict[str, Any]:
    """Options of `mclrec.runs.sources.DataSource`: what was given."""
    options = {
        "min_count": min_count,
        "header": header,
        "columns": columns or None,
        "drop_repeats": drop_repeats or None,
    }
    return {key: value for key, value in options.items() if value is not None}


def names(text: str | None) -> list[str]:
    """Comma-separated names."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]
