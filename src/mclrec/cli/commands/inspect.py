"""``mclrec inspect``: says what is taken of a log, what is dropped by which rule, and what to mind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mclrec.cli.app import DataArgument, JsonOption, app, examples
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import print_json, say

if TYPE_CHECKING:
    from mclrec.data.origin import Reading


@app.command(
    epilog=examples(
        "mclrec inspect log.csv",
        "mclrec inspect log.csv --min-count 2 --out log.html",
        "mclrec inspect beauty --json",
    )
)
@reads_log()
def inspect(
    data: DataArgument,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw it, as one HTML file.")] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Reads the log: duckdb (the default), polars, pandas or spark, with the same result.",
        ),
    ] = None,
    as_json: JsonOption = False,
    *,
    reading: Reading,
) -> None:
    """Say what is taken of a log, before anything is trained.

    Columns with a value of each, rows that are dropped by which rule, times, ties, repeats, lengths of histories,
    popularity, and warnings that name the option that cures.
    """
    from mclrec.cli.intake_view import intake_json, print_view
    from mclrec.data.loading import load
    from mclrec.data.measures import intake_of
    from mclrec.extras import require
    from mclrec.files import check_writable

    if out is not None:
        require("a report")
        check_writable(out)
    found = load(data, reading=reading, engine=engine)
    intake = intake_of(found)
    if as_json:
        print_json(intake_json(intake, found.name))
    else:
        print_view(intake, found.lengths)
    if out is not None:
        from mclrec.report.intake_page import write_intake_page

        path = write_intake_page(intake, found, out)
        if not as_json:
            say(str(path))
