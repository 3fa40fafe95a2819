"""``mclrec inspect``: reports what is read from a log, what each rule drops, and what to watch out for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mclrec.cli.app import DataArgument, JsonOption, app, examples
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import print_json, say

if TYPE_CHECKING:
    from mclrec.data.origin import Reading
    from mclrec.data.sequences import SequenceData
    from mclrec.runs.order_probe import OrderProbe


@app.command(
    epilog=examples(
        "mclrec inspect log.csv",
        "mclrec inspect log.csv --min-count 2 --out log.html",
        "mclrec inspect beauty --json",
        "mclrec inspect log.csv --order",
    )
)
@takes_long
@reads_log()
def inspect(
    data: DataArgument,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write an HTML report into this file.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Reads the log: duckdb (the default), polars, pandas or spark, with the same result.",
        ),
    ] = None,
    order: Annotated[
        bool,
        typer.Option(
            "--order",
            help="Also find out whether order matters: Markov and SASRec, on the log and with histories shuffled.",
        ),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=2**32 - 1, help="Random seed of --order; 1 if not given."),
    ] = None,
    as_json: JsonOption = False,
    *,
    reading: Reading,
) -> None:
    """Say what is taken of a log, before anything is trained.

    Columns with a value of each, rows that are dropped by which rule, times, ties, repeats, lengths of histories,
    popularity, and warnings that name the option that cures. With --order also whether sequence matters here.
    """
    from mclrec.cli.intake_view import intake_json, print_view
    from mclrec.data.loading import load
    from mclrec.data.measures import intake_of
    from mclrec.errors import ConfigError
    from mclrec.extras import require
    from mclrec.files import check_not_read, check_writable

    if seed is not None and not order:
        raise ConfigError("--seed is the seed of --order; add --order, or leave out --seed")
    if out is not None:
        require("a report")
        check_writable(out)
        check_not_read(out, [data])
    found = load(data, reading=reading, engine=engine)
    intake = intake_of(found)
    if not as_json:
        print_view(intake, found.lengths)
    probe = _run_probe(found, 1 if seed is None else seed, as_json=as_json) if order else None
    if as_json:
        further = {} if probe is None else {"order": probe.to_json()}
        print_json({**intake_json(intake, found.name), **further})
    if out is not None:
        from mclrec.report.intake_page import write_intake_page

        path = write_intake_page(intake, found, out, probe)
        if not as_json:
            say(str(path))


def _run_probe(data: SequenceData, seed: int, *, as_json: bool) -> OrderProbe:
    """Run the order probe with a progress bar, and print its result unless JSON was requested."""
    from mclrec.cli.order_view import print_order
    from mclrec.notices import tell
    from mclrec.progress import counting, is_quiet
    from mclrec.runs.order_probe import probe_order

    with counting("order") as advance:
        probe = probe_order(
            data,
            seed=seed,
            planned=lambda line: None if is_quiet() else tell("order", line),
            progress=advance,
        )
    if not as_json:
        print_order(probe)
    return probe
