"""``mclrec prepare``: turns a log into prepared data once, for many runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mclrec.cli.app import (
    DropRepeats,
    FileOrder,
    Header,
    ItemColumn,
    MinCount,
    SequenceColumn,
    TimeColumn,
    UserColumn,
    app,
    columns_of,
    examples,
)
from mclrec.cli.terminal import say


@app.command(
    epilog=examples(
        "mclrec prepare log.csv --out prepared/log",
        "mclrec prepare parts/ --out prepared/log --engine polars",
        "mclrec prepare hdfs://cluster/log --out prepared/log --engine spark",
        "mclrec train prepared/log",
    )
)
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
    min_count: MinCount = None,
    drop_repeats: DropRepeats = False,
    user_column: UserColumn = None,
    item_column: ItemColumn = None,
    time_column: TimeColumn = None,
    sequence_column: SequenceColumn = None,
    file_order: FileOrder = False,
    header: Header = None,
) -> None:
    """Turn a log into prepared data once, for many runs.

    Runs map prepared data into memory instead of reading the log again.
    """
    from mclrec.data.loading import load

    found = load(
        data,
        min_count=min_count,
        drop_repeats=drop_repeats,
        columns=columns_of(user_column, item_column, time_column, sequence_column, file_order),
        header=header,
        directory=out,
        engine=engine,
    )
    say(
        f"{out}: {found.num_users:,} users, {found.num_items:,} items, {found.num_interactions:,} interactions, "
        f"fingerprint {found.fingerprint}"
    )
