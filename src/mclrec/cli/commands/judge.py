"""``mclrec judge``: evaluates recommendations of any system, beside runs, on the held-out targets of a log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mclrec.cli.app import (
    JsonOption,
    SeenOption,
    SplitOption,
    TargetsOption,
    TestFromOption,
    TestUntilOption,
    ValidFromOption,
    app,
    examples,
)
from mclrec.cli.commands.results import row_json
from mclrec.cli.comparison_view import print_comparison
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import output, print_json, say
from mclrec.progress import advancing

if TYPE_CHECKING:
    from mclrec.data.origin import Reading
    from mclrec.runs.judging import Judged

_COLUMNS = "Columns of the lists"


@app.command(
    epilog=examples(
        "mclrec prepare log.csv --export-split split/  (what other systems train on, and whom to recommend to)",
        "mclrec judge theirs.parquet --data split/",
        "mclrec judge rectools=recs.csv markov=runs/markov runs/sasrec-seed* --data log.csv",
        "mclrec judge bm25=run.trec --data log.csv --split time --seen drop --k 100",
        "mclrec judge recs.csv --data log.csv --list-user customer --list-item sku --list-score value",
    )
)
@takes_long
@reads_log()
def judge(
    lists: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]LISTS...",
            help="Files of recommendations (csv, tsv, JSON, Parquet, TREC run file), and runs; the first is the "
            "baseline.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="The log, or the folder of an exported split; that of the first run if not given.",
        ),
    ] = None,
    split: SplitOption = None,
    valid_from: ValidFromOption = None,
    test_from: TestFromOption = None,
    test_until: TestUntilOption = None,
    targets: TargetsOption = None,
    seen: SeenOption = None,
    part: Annotated[
        Literal["validation", "test"], typer.Option(help="Which held-out items to find in the lists.")
    ] = "test",
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Metric of the significance test: hr@N, ndcg@N or mrr@N; if not given, ndcg@10, or ndcg at the end of "
            "shorter lists.",
        ),
    ] = None,
    k: Annotated[
        list[int] | None,
        typer.Option(
            "--k", metavar="N", min=1, help="Metric cutoff; may be repeated. 5, 10 and 20 if not given."
        ),
    ] = None,
    list_user: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=_COLUMNS, help="Column of the user; guessed if not given."
        ),
    ] = None,
    list_item: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_COLUMNS,
            help="Column of the item, or of a list of items in order; guessed if not given.",
        ),
    ] = None,
    list_rank: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=_COLUMNS, help="Column of the rank, from 1; guessed if not given."
        ),
    ] = None,
    list_score: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_COLUMNS,
            help="Column of the score, the higher the better; guessed where there is no rank.",
        ),
    ] = None,
    list_in_order: Annotated[
        bool,
        typer.Option(
            "--list-in-order",
            rich_help_panel=_COLUMNS,
            help="The rows of each user are in order, best first.",
        ),
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write an HTML report into this file.")
    ] = None,
    *,
    reading: Reading,
    as_json: JsonOption = False,
) -> None:
    """Judge recommendations of any system as runs are: by the same targets, metrics and tests.

    Lists have a user, an item, and a rank or a score a row. Equal scores count against the target, a target without a
    list is a miss, and all that had to be decided is told and counted.
    """
    from mclrec.evaluation.recommended_columns import ListColumns
    from mclrec.extras import require
    from mclrec.files import check_not_read, check_writable
    from mclrec.runs.judging import AskedSplit, open_case

    if report is not None:
        require("a report")
        check_writable(report)
        check_not_read(report, [data, *lists, *(one.partition("=")[2] for one in lists)])
    case = open_case(
        lists,
        ListColumns(list_user, list_item, list_rank, list_score, list_in_order),
        data=data,
        reading=reading,
        asked=AskedSplit(split, valid_from, test_from, test_until, targets),
    )
    if as_json and seen is None and report is None:
        seen = "keep"
    found = []
    rules = case.rules if seen is None else [seen]
    with advancing("protocols", len(rules)) as advance:
        for rule in rules:
            found.append(case.judged(rule, part, metric, k or None))
            advance(1)
    if as_json:
        print_json(_json(next((one for one in found if one.label == "U"), found[0])))
    else:
        for one in found:
            _print(one)
    if report is not None:
        from mclrec.report.judged_page import report_judged

        report_judged(case, found, report)
        if not as_json:
            say(str(report))


def _json(found: Judged) -> dict[str, Any]:
    return {
        "protocol": found.protocol,
        "label": found.label,
        "metric": str(found.metric),
        "systems": [row_json(row) for row in found.rows],
        "lists": [
            {"system": lists.name, "place": lists.place, **lists.facts.to_json(), "notes": lists.notes}
            for lists in found.lists
        ],
        "baselines": [{"system": score.model, "metrics": score.metrics} for score in found.baselines],
    }


def _print(found: Judged) -> None:
    """Print the comparison, and what was decided about each file."""
    print_comparison(found.rows, found.label, str(found.metric), found.baselines, part=found.part)
    for lists in found.lists:
        output().print(f"{lists.name} ({lists.place}): {'; '.join(lists.notes)}", style="dim", soft_wrap=True)
    if found.skipped is not None:
        output().print(found.skipped, style="dim", soft_wrap=True)
    output().print()
