"""``mclrec reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mclrec.cli.app import app
from mclrec.cli.options import (
    SettingOption,
    TrackOption,
    examples,
    names,
)


@app.command(
    epilog=examples(
        "mclrec reproduce table4 --datasets complete-journey --seeds 3",
        "mclrec reproduce table3 --datasets beauty --models sasrec,mclrec --dry-run",
        "mclrec reproduce table4 --datasets beauty --recipe sequences  (cheaper than prefixes)",
        "mclrec reproduce figure6 --datasets beauty --points 4",
        "mclrec reproduce all --budget 480",
    )
)
def reproduce(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="table2 to table5, figure2 to figure8, claim-regularizer, or all.",
        ),
    ],
    datasets: Annotated[
        str | None, typer.Option(metavar="A,B", help="Names or paths; the paper's three if not given.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(metavar="A,B", help="Which to compare; all of the paper's if not given.")
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Runs of each, with seeds from 1.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Processes, as many as there are cores, four at most, if not given; more may be started beside, "
            "also elsewhere.",
        ),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="MINUTES", min=0, help="Stop then; the next call goes on.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|MODEL=NAME,...",
            help="Section of the models' recipes, of all or of some; the data set's own if not given.",
        ),
    ] = None,
    points: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="At most so many points of a curve, spread evenly.")
    ] = None,
    setting: SettingOption = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Of runs and tables.")] = Path("runs/reproduce"),
    track: TrackOption = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only print the plan and its time.")] = False,
) -> int:
    """Make a table or figure of the paper. What is done is not run again; an interrupted campaign goes on."""
    from mclrec.cli import reproduce as view
    from mclrec.experiments.target import PAPER_DATASETS, Scope
    from mclrec.recipes import parse_setting

    scope = Scope(
        names(datasets) or PAPER_DATASETS,
        names(models),
        seeds,
        dict(parse_setting(text) for text in setting or []),
        _by_model(recipe),
        points,
    )
    if dry:
        view.dry_run(what, scope, out)
        return 0
    return view.run(what, scope, out, workers, budget, track)


def _by_model(recipe: str | None) -> str | dict[str, str] | None:
    """``MODEL=NAME,...`` as a mapping; anything else is for all models."""
    if recipe is None or "=" not in recipe:
        return recipe
    return dict(_pair(part) for part in names(recipe))


def _pair(text: str) -> tuple[str, str]:
    model, equals, name = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r}: write MODEL=NAME here too", param_hint="--recipe")
    return model, name
