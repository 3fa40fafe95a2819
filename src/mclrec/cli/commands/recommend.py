"""``mclrec recommend``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from mclrec.cli.app import app
from mclrec.cli.options import (
    DeviceOption,
    FileOrder,
    ItemColumn,
    JsonOption,
    RunArgument,
    SequenceColumn,
    TimeColumn,
    UserColumn,
    columns_of,
    examples,
)
from mclrec.errors import ConfigError


@app.command(
    epilog=examples(
        'mclrec recommend runs/demo/mclrec --history "BANANAS,EGGS - X-LARGE" --k 5',
        "mclrec recommend runs/demo/mclrec --users log.csv --out recs.parquet",
        "mclrec recommend runs/demo/mclrec --users all --out recs.parquet",
    )
)
def recommend(
    run: RunArgument,
    history: Annotated[
        str | None,
        typer.Option(
            metavar="IDS", help='Items, oldest first: "a,b,c"; quote an id that holds a comma: \'a,"b,c"\'.'
        ),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(
            metavar="LOG|all",
            help="Every user in this log gets recommendations; all: every user of the run's own data. "
            "If it is interrupted, the same command goes on.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Parquet file for --users: user, rank, item, score."),
    ] = None,
    k: Annotated[int, typer.Option(metavar="N", help="How many items.")] = 10,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Items of the history may be recommended.")
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    user_column: UserColumn = None,
    item_column: ItemColumn = None,
    time_column: TimeColumn = None,
    sequence_column: SequenceColumn = None,
    file_order: FileOrder = False,
) -> None:
    """Recommend items after a history, or to every user of a log."""
    if (history is None) == (users is None) or (users is None) != (out is None):
        raise ConfigError("give either --history, or both --users and --out")
    from mclrec.cli.tables import print_recommendations
    from mclrec.data.columns import Columns
    from mclrec.runs.remeasure import run_data
    from mclrec.runs.run import open_run
    from mclrec.runs.training_run import resolve_device
    from mclrec.serving.predictor import Model

    model = Model.load(run, resolve_device(device))
    if users is not None and out is not None:
        columns = Columns(**columns_of(user_column, item_column, time_column, sequence_column, file_order))
        log = users if users != "all" else run_data(open_run(run), hint="give it as --users LOG")
        count = model.recommend_file(log, out, k, include_seen=include_seen, columns=columns)
        typer.echo(f"{out}: {k} items for each of {count} users")
        return
    found = model.recommend(_ids(history or ""), k, include_seen=include_seen)
    if as_json:
        typer.echo(json.dumps([item._asdict() for item in found], ensure_ascii=False))
    else:
        print_recommendations(found)


def _ids(text: str) -> list[str]:
    """Comma-separated ids; quotes keep commas inside an id."""
    import csv

    row: Iterable[str] = next(csv.reader([text], skipinitialspace=True), [])
    return [value.strip() for value in row if value.strip()]
