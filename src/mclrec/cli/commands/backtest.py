"""``mclrec backtest``: models retrained before each of several moments, and compared with leave-one-out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mclrec.cli.app import (
    DataArgument,
    DeviceOption,
    JsonOption,
    SeedOption,
    SettingOption,
    app,
    examples,
    names,
)
from mclrec.cli.pairs import settings_given
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import PlainConsole, output, plain_table, print_json, say
from mclrec.wording import percent

if TYPE_CHECKING:
    from rich.table import Table

    from mclrec.data.origin import Reading
    from mclrec.runs.backtest_results import Backtest


@app.command(
    epilog=examples(
        "mclrec backtest complete-journey",
        "mclrec backtest log.csv --models popularity,markov,sasrec --cuts 4 --targets all",
        "mclrec backtest log.csv --models itemknn,sasrec,mclrec --set epochs=5  (of those that have epochs)",
    )
)
@takes_long
@reads_log()
def backtest(
    data: DataArgument,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Models; popularity,markov,itemknn,cooccurrence,ease if not given, which take seconds.",
        ),
    ] = None,
    cuts: Annotated[
        int, typer.Option(metavar="N", min=1, max=50, help="Moments before which the models are trained.")
    ] = 3,
    targets: Annotated[
        str,
        typer.Option(
            metavar="WHICH",
            help="Which interactions of a user in a window are targets: first, last, all, or random (one).",
        ),
    ] = "first",
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="hr@N, ndcg@N or mrr@N; ndcg@10 if not given.")
    ] = None,
    seen: Annotated[
        Literal["keep", "drop"] | None,
        typer.Option(
            help="Keep items of the user's history as candidates (U), or drop them (F); if not given, what suits the "
            "log."
        ),
    ] = None,
    seed: SeedOption = 1,
    setting: SettingOption = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of the runs; runs/backtest-DATA if not given."),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write an HTML report into this file.")
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    *,
    reading: Reading,
) -> None:
    """Evaluate models over time: train before each of several moments, measure on what came after.

    The same models are measured by leave-one-out beside it, and Kendall's tau says whether they change places. Finished
    runs are kept, and the same command goes on.
    """
    from mclrec.extras import require
    from mclrec.files import check_not_read, check_writable
    from mclrec.runs.backtesting import CHEAP, BacktestRequest, run_backtest
    from mclrec.training.reporting import ProgressReporter

    if page is not None:
        require("a report")
        check_writable(page)
        check_not_read(page, [data])
    console = PlainConsole(stderr=True)
    request = BacktestRequest(
        data,
        CHEAP if models is None else names(models),
        cuts,
        targets,
        metric,
        seen,
        seed,
        out,
        device,
        reading,
        settings_given(setting),
    )
    found = run_backtest(
        request,
        lambda: ProgressReporter(console),
    )
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)
    if page is not None:
        from mclrec.report.backtest_page import write_backtest_page

        write_backtest_page(found, page)
        if not as_json:
            say(str(page))


def _print(found: Backtest) -> None:
    """Print metrics by window, the windows, and whether the order of the models changes."""
    console = output()
    console.print(_metrics(found))
    console.print()
    console.print(_windows(found))
    console.print(found.verdict, soft_wrap=True)
    for window in found.windows:
        for note in window.notes:
            console.print(f"{window.name}: {note}", style="dim", soft_wrap=True)
    for note in found.notes:
        console.print(note, style="dim", soft_wrap=True)
    cold = "new items: never in the training data of that cut, so no model that knows items by id can recommend them"
    console.print(f"{cold}; over time: mean of the cuts, equally weighted", style="dim", soft_wrap=True)


def _metrics(found: Backtest) -> Table:
    title = f"{found.data}: test {found.metric} ({found.label}), with 95 % intervals over users"
    heads = [window.name for window in found.windows]
    table = plain_table("", *heads, "over time", title=title)
    for model, values in found.values.items():
        cells = (f"{one.mean:.4f} ({one.low:.4f} to {one.high:.4f})" for one in values)
        table.add_row(model, *cells, f"{found.over_time(model):.4f}")
    return table


def _windows(found: Backtest) -> Table:
    table = plain_table("", "from", "until", "targets", "users", "new items", "new users", "tau", left=3)
    for number, window in enumerate(found.windows):
        tau = found.tau_of(number) if number else None
        shares = (percent(count / window.targets) for count in (window.new_items, window.new_users))
        table.add_row(
            window.name,
            window.start or "",
            window.end or ("the end" if number else ""),
            f"{window.targets:,}",
            f"{window.users:,}",
            *shares,
            "" if tau is None else f"{tau:.2f}",
        )
    return table
