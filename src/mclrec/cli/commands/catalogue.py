"""``mclrec models``, ``datasets`` and ``demo``: what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mclrec.cli.app import app
from mclrec.cli.options import (
    JsonOption,
    SeedOption,
    examples,
)
from mclrec.errors import ConfigError


@app.command(epilog=examples("mclrec models", "mclrec models mclrec"))
def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Model to describe; all are listed if not given."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The models there are, or one model's settings and recipes."""
    from mclrec.cli.catalogue import describe, listing
    from mclrec.cli.tables import print_model, print_models

    found = listing() if name is None else describe(name)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    elif name is None:
        print_models(found)
    else:
        print_model(found)


@app.command(epilog=examples("mclrec datasets", "mclrec datasets beauty", "mclrec datasets sports --groups"))
def datasets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Data set or log to describe; all are listed if not given."),
    ] = None,
    groups: Annotated[
        bool, typer.Option("--groups", help="By users' sequence length, as in table 5.")
    ] = False,
) -> None:
    """The named data sets, or the sizes of one as in the paper's tables 2 and 5."""
    from mclrec.cli.tables import print_datasets, print_sizes

    if name is None:
        if groups:
            raise ConfigError("--groups needs a data set's name")
        print_datasets()
    else:
        print_sizes(name, groups=groups)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Of the runs.")] = Path("runs/demo"),
    seed: SeedOption = 1,
) -> None:
    """Train MCLRec and SASRec on the bundled grocery data, compare them with trivial systems, and recommend."""
    from mclrec.cli.demo import run_demo

    run_demo(out, seed)
