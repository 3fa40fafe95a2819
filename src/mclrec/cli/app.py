"""The typer application that the commands register with."""

from __future__ import annotations

from typing import Annotated

import typer

from mclrec import __version__

__all__ = ["app"]

app = typer.Typer(
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
