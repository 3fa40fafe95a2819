"""``mclrec evaluate``, ``mclrec compare`` and ``mclrec report``: the results of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mclrec.cli.app import (
    DeviceOption,
    JsonOption,
    RunArgument,
    SeenOption,
    app,
    examples,
)
from mclrec.cli.comparison_view import print_comparison
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.terminal import print_json, say
from mclrec.progress import counting, working

__all__ = ["compare", "evaluate", "report", "row_json"]

if TYPE_CHECKING:
    from mclrec.evaluation.claims import Finding
    from mclrec.runs.comparison import Row


@app.command(
    epilog=examples(
        "mclrec evaluate runs/beauty-mclrec-seed1",
        "mclrec evaluate runs/beauty-mclrec-seed1 --seen drop --part validation --k 50",
        "mclrec evaluate runs/beauty-mclrec-seed1 --metrics all --categories items.csv",
        "mclrec evaluate runs/mine --slices --slice country",
    )
)
@takes_long
def evaluate(
    run: RunArgument,
    seen: SeenOption = None,
    part: Annotated[
        Literal["validation", "test"], typer.Option(help="Which held-out items to rank.")
    ] = "test",
    k: Annotated[
        list[int] | None,
        typer.Option(
            "--k",
            metavar="N",
            min=1,
            help="Metric cutoff; may be repeated. 5, 10 and 20 if not given.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="The data, if they are no longer where the run read them."),
    ] = None,
    metrics: Annotated[
        Literal["accuracy", "all"],
        typer.Option(
            help="all: also what is in the lists (coverage, novelty, popularity, diversity, repeats)."
        ),
    ] = "accuracy",
    categories: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Categories of items for --metrics all (csv, tsv or Parquet: item, category).",
        ),
    ] = None,
    slices: Annotated[
        bool,
        typer.Option(
            "--slices",
            help="Also by length of history, popularity, time since the last interaction, repeats, and cold items.",
        ),
    ] = False,
    slice_by: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            metavar="COLUMN",
            help="Also by this column of the log, taken from the target's row; may be repeated.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Evaluate a run by ranking its held-out items among the whole catalogue."""
    from mclrec.cli.scores import print_notes, print_result, rules_of
    from mclrec.cli.slice_view import print_slices
    from mclrec.runs.remeasure import evaluate_run

    further = None
    for rule in rules_of(run, seen, as_json=as_json):
        with counting("targets") as advance:
            result = evaluate_run(
                run,
                part=part,
                seen=rule,
                ks=tuple(k) if k else None,
                data=data,
                device=device,
                progress=advance,
                metrics=metrics,
                categories=categories,
                slices=slices,
                slice_by=slice_by,
            )
        if as_json:
            print_json(result.to_json())
        else:
            print_result(run, result)
            if result.slices is not None:
                print_slices(result.slices, result.protocol)
            further = result.further
    if further is not None:
        print_notes(further)


@app.command(
    epilog=examples(
        "mclrec compare runs/beauty-sasrec-seed1 runs/beauty-mclrec-seed1",
        "mclrec compare runs/beauty-sasrec-seed* runs/beauty-mclrec-seed* --metric hr@20 --seen drop",
    )
)
@takes_long
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs on the same data; the first is the baseline.")
    ],
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Metric of the significance test: hr@N, ndcg@N or mrr@N; ndcg@10 if not given.",
        ),
    ] = None,
    seen: SeenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare runs with the first of them, and say what may be claimed.

    Runs that differ in seed alone are one system. Intervals and p-values are of a paired bootstrap over users and over
    the seeds of a system, where it has several. Claims use p-values with Holm's correction for several comparisons.
    """
    from mclrec.cli.scores import baselines_of, rules_of
    from mclrec.runs.comparison import compare_runs, tested_metric
    from mclrec.runs.run import open_run

    for rule in rules_of(runs[0], seen, as_json=as_json):
        with working("comparing"):
            rows = compare_runs(runs, seen=rule, metric=metric)
        if as_json:
            print_json([row_json(row) for row in rows])
        else:
            label = "U" if rule == "keep" else "F"
            tested = tested_metric(metric, open_run(runs[0]).info.num_items)
            print_comparison(rows, label, str(tested), baselines_of(runs[0], label))


@app.command(
    epilog=examples(
        "mclrec report runs/beauty-sasrec-seed1 runs/beauty-mclrec-seed1 --out beauty.html",
        "mclrec report runs/reproduce",
    )
)
@takes_long
def report(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...|DIR", help="Runs on the same data, or the output directory of mclrec reproduce."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="HTML file; report.html in the first directory if not given."),
    ] = None,
) -> None:
    """Write an HTML report on runs or on a campaign.

    It is one file with tables and plots that loads nothing from the network.
    """
    from mclrec.report.page import write_report

    with working("writing the report"):
        path = write_report(places, out)
    say(str(path))


def row_json(row: Row) -> dict[str, Any]:
    """A system of a comparison as JSON."""
    return {
        "system": row.label,
        "seeds": row.seeds,
        "metrics": row.metrics,
        "difference": row.difference,
        "p": row.p,
        "interval": [row.interval.low, row.interval.high],
        **({} if row.finding is None else _finding_json(row.finding)),
    }


def _finding_json(found: Finding) -> dict[str, Any]:
    effect = found.effect
    return {
        "baseline": found.baseline,
        "p_holm": found.adjusted_p,
        "comparisons": found.family,
        "difference_interval": list(effect.difference[1:]),
        "relative": effect.relative and effect.relative.mean,
        "relative_interval": effect.relative and list(effect.relative[1:]),
        "users": found.users,
        "detectable": found.detectable,
        "relative_detectable": found.relative_detectable,
        "varies": ["users", "seeds"] if max(found.seeds) > 1 else ["users"],
        "claim": found.claim,
    }
