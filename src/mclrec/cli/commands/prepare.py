"""``mclrec prepare``: turns a log into prepared data once, for many runs, or into a split that any system reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mclrec.cli.app import (
    SplitOption,
    TargetsOption,
    TestFromOption,
    TestUntilOption,
    ValidFromOption,
    app,
    examples,
)
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import print_intake, say
from mclrec.errors import ConfigError
from mclrec.progress import working
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
        "mclrec prepare log.csv --export-split split/ --split time  (for other systems; see mclrec judge)",
    )
)
@takes_long
@reads_log()
def prepare(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Name of a data set, path of a log, or folder of Parquet files."),
    ],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Directory for the prepared data.")] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Reads the log: duckdb, polars, pandas or spark, with the same result.",
        ),
    ] = "duckdb",
    export_split: Annotated[
        Path | None,
        typer.Option(
            "--export-split",
            metavar="DIR",
            help="Directory for the split as files that any system reads: training interactions, histories, targets, "
            "users and items.",
        ),
    ] = None,
    export_format: Annotated[
        Literal["parquet", "csv"], typer.Option("--export-format", help="Type of these files.")
    ] = "parquet",
    split: SplitOption = None,
    valid_from: ValidFromOption = None,
    test_from: TestFromOption = None,
    test_until: TestUntilOption = None,
    targets: TargetsOption = None,
    *,
    reading: Reading,
) -> None:
    """Turn a log into prepared data once, for many runs, or into a split that other systems train on.

    Runs map prepared data into memory instead of reading the log again. Recommendations of a system that was trained
    on an exported split are judged by mclrec judge.
    """
    from mclrec.data.loading import load
    from mclrec.data.measures import intake_of
    from mclrec.data.split_choice import chosen_split
    from mclrec.data.split_export import check_export_place, write_split

    if out is None and export_split is None:
        raise ConfigError(
            "say what to write: --out DIR for runs, --export-split DIR for other systems, or both"
        )
    asked = (split, valid_from, test_from, test_until, targets)
    if export_split is None and any(one is not None for one in asked):
        raise ConfigError(
            "prepared data are not split yet: --split goes with --export-split, or with mclrec train"
        )
    if export_split is not None:
        check_export_place(export_split)
    rule = chosen_split(data, reading, *asked)
    found = load(data, reading=reading, directory=out, engine=None if engine == "duckdb" else engine)
    print_intake(intake_of(found))
    if export_split is not None:
        with working("writing the split"):
            written = write_split(found, export_split, rule, export_format)
        for name, file in written.files.items():
            say(f"{export_split / name}: {count_of(file.rows, 'row')}, {file.holds}")
    say(
        f"{out or found.name}: {count_of(found.num_users, 'user')}, {count_of(found.num_items, 'item')}, "
        f"{count_of(found.num_interactions, 'interaction')}, "
        f"fingerprint {found.fingerprint}"
    )
