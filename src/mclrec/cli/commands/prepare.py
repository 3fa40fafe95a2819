"""``mclrec prepare``: turns a log into prepared data once, for many runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mclrec.cli.app import (
    app,
    examples,
)
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import print_intake, say
from mclrec.wording import count_of

if TYPE_CHECKING:
    from mclrec.data.origin import Reading


@app.command(
    epilog=examples(
        "mclrec prepare log.csv --out prepared/log",
        "mclrec prepare log.csv --where \"event = 'purchase'\" --out prepared/bought",
        "mclrec prepare parts/ --out prepared/log --engine polars",
        "mclrec prepare hdfs://cluster/log --out prepared/log --engine spark",
        "mclrec train prepared/log",
    )
)
@reads_log()
def prepare(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Name of a data set, path of a log, or folder of Parquet files."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory for the prepared data.")],
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Reads the log: duckdb, polars, pandas or spark, with the same result.",
        ),
    ] = "duckdb",
    *,
    reading: Reading,
) -> None:
    """Turn a log into prepared data once, for many runs.

    Runs map prepared data into memory instead of reading the log again.
    """
    from mclrec.data.loading import load
    from mclrec.data.measures import intake_of

    found = load(
        data,
        reading=reading,
        directory=out,
        engine=engine,
    )
    print_intake(intake_of(found))
    say(
        f"{out}: {count_of(found.num_users, 'user')}, {count_of(found.num_items, 'item')}, "
        f"{count_of(found.num_interactions, 'interaction')}, "
        f"fingerprint {found.fingerprint}"
    )
