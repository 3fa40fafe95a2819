"""The typer application that the commands register with, and the arguments and options that they share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from mclrec import __version__

__all__ = [
    "DataArgument",
    "DeviceOption",
    "EngineOption",
    "ItemsOption",
    "JsonOption",
    "MinutesOption",
    "ModelOption",
    "RecipeOption",
    "RunArgument",
    "SeedOption",
    "SeenOption",
    "SettingOption",
    "SplitOption",
    "TestFromOption",
    "TitlesOption",
    "TrackOption",
    "ValidFromOption",
    "app",
    "examples",
    "names",
]


_MAY_BE_EMPTY = "history"
"""The parameter that may be an empty string: an empty history is answered with popular items."""


class _Command(TyperCommand):
    """A command that refuses empty arguments: an unset shell variable is not a path, name or list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse empty arguments, then parse: an empty string parsed as a path would be the working directory."""
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        parameters: list[Any] = self.params  # typer has two parameter types
        for parameter in parameters:
            value = given.get(str(parameter.name))
            values = value if isinstance(value, list | tuple) else [value]
            if parameter.name != _MAY_BE_EMPTY and any(
                isinstance(one, str) and not one.strip() for one in values
            ):
                raise typer.BadParameter("is empty; give a value, or leave it out", ctx=ctx, param=parameter)
        return super().parse_args(ctx, args)


class _Application(typer.Typer):
    """The typer application, whose commands all refuse empty arguments."""

    def command(
        self, *args: Any, **options: Any
    ) -> Callable[[typer.models.CommandFunctionType], typer.models.CommandFunctionType]:
        """Register a function as a command."""
        return super().command(*args, cls=_Command, **options)


app = _Application(
    name="mclrec",
    help="Sequential recommendation by meta-optimised contrastive learning: train, evaluate, recommend, serve.",
    epilog="Start with: mclrec demo",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mclrec {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def examples(*lines: str) -> str:
    """Format examples as the epilog of a command's help."""
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])


DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="Name of a data set, or path of a log or of prepared data.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run.")]
SeenOption = Annotated[
    Literal["keep", "drop"] | None,
    typer.Option(
        help="Keep items of the user's history as candidates (U), or drop them (F); both if not given, first the one "
        "that suits the log (JSON: keep)."
    ),
]
SeedOption = Annotated[int, typer.Option(metavar="N", min=0, max=2**32 - 1, help="Random seed.")]
DeviceOption = Annotated[
    str, typer.Option(metavar="NAME", help="auto, cpu or cuda; auto uses a GPU if there is one.")
]
EngineOption = Annotated[
    Literal["auto", "torch", "onnx"],
    typer.Option(help="onnxruntime, torch, or (auto) onnxruntime where the run has an export."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TitlesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Titles of items, to show with their ids: .csv, .tsv or .parquet with id and title.",
    ),
]
ItemsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Table of items for rules and titles: .csv, .tsv or .parquet with id, title, category, price, ...",
    ),
]
ModelOption = Annotated[
    str, typer.Option(metavar="NAME", help="Name of the model. List them with: mclrec models")
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Section of the model's recipes, or a TOML file; if not given, the data set's own, for other logs auto.",
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting; may be repeated. List them with: mclrec models MODEL",
    ),
]
SplitOption = Annotated[
    Literal["leave-one-out", "time", "files"] | None,
    typer.Option(
        "--split",
        help="Hold out each user's last items, the latest interactions of all users, or what --valid and --test name; "
        "leave-one-out if neither is given.",
    ),
]
ValidFromOption = Annotated[
    str | None,
    typer.Option(
        "--valid-from",
        metavar="DATE",
        help="With --split time: hold out for validation from this moment on; an ISO date, or a number in the log's "
        "unit.",
    ),
]
TestFromOption = Annotated[
    str | None,
    typer.Option(
        "--test-from", metavar="DATE", help="With --split time: hold out for the test from this moment on."
    ),
]
TestUntilOption = Annotated[
    str | None,
    typer.Option(
        "--test-until", metavar="DATE", help="With both moments: nothing from this moment on is a target."
    ),
]
TargetsOption = Annotated[
    str | None,
    typer.Option(
        "--targets",
        metavar="WHICH",
        help="With --split time: which interactions of a user after a moment are targets: first (if not given), last, "
        "all, or random (one; random-7 draws with seed 7).",
    ),
]
TrackOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Also write metrics for a tracker: tensorboard, mlflow or wandb (offline). history.jsonl is always "
        "written.",
    ),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        metavar="MINUTES", min=0, help="Stop after this many minutes; the same command continues later."
    ),
]


def names(text: str | None) -> list[str]:
    """Split comma-separated names; none if there is no text.

    Raises:
        ConfigError: the text has no names.
    """
    found = [name.strip() for name in (text or "").split(",") if name.strip()]
    if text is not None and not found:
        from mclrec.errors import ConfigError, quoted

        raise ConfigError(f"{quoted(text)} has no names; separate names by commas, or leave the option out")
    return found
