"""The commands. Each parses its words and calls one function of the library."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mclrec import __version__
from mclrec.errors import ConfigError

app = typer.Typer(
    name="mclrec",
    help="Sequential recommendation by meta-optimised contrastive learning: train, evaluate, recommend.",
    epilog="Begin with: mclrec demo, or: mclrec train --help",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _examples(*lines: str) -> str:
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])


_COLUMNS = "Columns of the log"

DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="Name of a data set, path of a log, or prepared data.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run.")]
SeenOption = Annotated[
    Literal["keep", "drop"],
    typer.Option(help="Keep the items of a user's history as candidates (protocol U) or drop them (F)."),
]
SeedOption = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of everything random.")]
DeviceOption = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UserColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=_COLUMNS, help="Of the user; guessed if not given."),
]
ItemColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=_COLUMNS, help="Of the item; guessed if not given."),
]
TimeColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=_COLUMNS, help="Of the time; guessed if not given."),
]
SequenceColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=_COLUMNS, help="That orders rows of the same time."),
]
FileOrder = Annotated[
    bool,
    typer.Option(
        "--file-order", rich_help_panel=_COLUMNS, help="The log has no time; its rows stand in order."
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mclrec {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog=_examples(
        "mclrec train beauty",
        "mclrec train complete-journey --model sasrec --seed 2",
        "mclrec train log.csv --item-column sku --set beta=0.1 --set epochs=20",
        "mclrec train newer.csv --from runs/log-mclrec-seed1",
        "mclrec models mclrec  (what --set and --recipe take)",
    )
)
def train(
    context: typer.Context,
    data: DataArgument,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Which model; listed by: mclrec models")
    ] = "mclrec",
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Section of the model's recipes, or a TOML file; the data set's own if not given.",
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a setting, may be repeated; listed by: mclrec models MODEL",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Of the run; a free one under runs/ if not given.")
    ] = None,
    seed: SeedOption = 1,
    device: DeviceOption = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted or killed run.")
    ] = False,
    base: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Go on from an earlier model, on a newer log."),
    ] = None,
    split: Annotated[
        Literal["leave-one-out", "time"],
        typer.Option("--split-by", help="Hold out each user's last items, or what is newest by global time."),
    ] = "leave-one-out",
    min_count: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=1,
            help="k-core: interactions that a user or item must have; 5 for a log if not given.",
        ),
    ] = None,
    drop_repeats: Annotated[
        bool, typer.Option("--drop-repeats", help="Keep only the first interaction of a user with an item.")
    ] = False,
    user_column: UserColumn = None,
    item_column: ItemColumn = None,
    time_column: TimeColumn = None,
    sequence_column: SequenceColumn = None,
    file_order: FileOrder = False,
    header: Annotated[
        bool | None,
        typer.Option(
            rich_help_panel=_COLUMNS, help="Whether the file begins with their names; guessed if not given."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing until the end.")] = False,
) -> int:
    """Train a model on a log, measure it under both protocols, and write its directory."""
    from mclrec.cli import training
    from mclrec.recipes import parse_setting
    from mclrec.runs.sources import DataSource
    from mclrec.runs.train import TrainRequest

    options = {
        "min_count": min_count,
        "header": header,
        "columns": _columns(user_column, item_column, time_column, sequence_column, file_order) or None,
        "drop_repeats": drop_repeats or None,
    }
    request = TrainRequest(
        DataSource(data, {key: value for key, value in options.items() if value is not None}),
        model,
        recipe,
        dict(parse_setting(text) for text in setting or []),
        seed,
        out,
        device,
        resume,
        base,
        split,
        command=shlex.join(["mclrec", *_without_resume(context.obj["words"])]),
    )
    return training.run(request, quiet=quiet)


@app.command(
    epilog=_examples(
        "mclrec evaluate runs/beauty-mclrec-seed1",
        "mclrec evaluate runs/beauty-mclrec-seed1 --seen drop --split validation --k 50",
    )
)
def evaluate(
    run: RunArgument,
    seen: SeenOption = "keep",
    split: Annotated[Literal["validation", "test"], typer.Option(help="Which held-out items.")] = "test",
    k: Annotated[
        list[int] | None,
        typer.Option("--k", metavar="N", min=1, help="Cut, may be repeated; 5, 10 and 20 if not given."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Where the data are, if not where they were.")
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Rank a run's held-out items among the whole catalogue."""
    from mclrec.cli.progress import counting
    from mclrec.cli.tables import print_result
    from mclrec.runs.evaluate import evaluate_run

    with counting("targets") as advance:
        result = evaluate_run(
            run, part=split, seen=seen, ks=tuple(k) if k else None, data=data, device=device, progress=advance
        )
    if as_json:
        typer.echo(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        print_result(result)


@app.command(
    epilog=_examples(
        'mclrec recommend runs/demo/mclrec --history "BANANAS,EGGS - X-LARGE" --k 5',
        "mclrec recommend runs/demo/mclrec --users log.csv --out recs.parquet",
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
        Path | None, typer.Option(metavar="LOG", help="Every user in this log gets recommendations.")
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
    from mclrec.runs.train import resolve_device
    from mclrec.serving.predictor import Model

    model = Model.load(run, resolve_device(device))
    if users is not None and out is not None:
        columns = Columns(**_columns(user_column, item_column, time_column, sequence_column, file_order))
        count = model.recommend_file(users, out, k, include_seen=include_seen, columns=columns)
        typer.echo(f"{out}: {k} items for each of {count} users")
        return
    found = model.recommend(_ids(history or ""), k, include_seen=include_seen)
    if as_json:
        typer.echo(json.dumps([item._asdict() for item in found], ensure_ascii=False))
    else:
        print_recommendations(found)


@app.command(epilog=_examples("mclrec compare runs/beauty-sasrec-seed1 runs/beauty-mclrec-seed1"))
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs on the same data; the first is the rival.")
    ],
    metric: Annotated[
        str, typer.Option(metavar="NAME", help="What is tested: hr@N, ndcg@N or mrr@N.")
    ] = "ndcg@10",
    seen: SeenOption = "keep",
    as_json: JsonOption = False,
) -> None:
    """Runs side by side, with paired-bootstrap p-values against the first; seeds of one system are averaged."""
    from mclrec.cli.tables import print_comparison
    from mclrec.runs.compare import compare_runs

    label = "U" if seen == "keep" else "F"
    rows = compare_runs(runs, label=label, metric=metric)
    if as_json:
        typer.echo(json.dumps([_row_json(row) for row in rows], ensure_ascii=False))
    else:
        print_comparison(rows, label, metric)


@app.command(
    epilog=_examples(
        "mclrec reproduce table4 --datasets complete-journey --seeds 3 --workers 2",
        "mclrec reproduce table3 --datasets beauty --models sasrec,mclrec --dry-run",
        "mclrec reproduce all --budget 480",
    )
)
def reproduce(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="table2 to table5, figure3, figure4, figure6 to figure8, claim-regularizer, or all.",
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
        int, typer.Option(metavar="N", min=1, help="Processes; more may be started beside, also elsewhere.")
    ] = 1,
    budget: Annotated[
        float | None, typer.Option(metavar="MINUTES", min=0, help="Stop then; the next call goes on.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of every run, may be repeated."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Of runs and tables.")] = Path("runs/reproduce"),
    dry: Annotated[bool, typer.Option("--dry-run", help="Only print the plan and its time.")] = False,
) -> int:
    """Make a table or figure of the paper. What is done is not run again; an interrupted campaign goes on."""
    from mclrec.cli import reproduce as view
    from mclrec.experiments.target import PAPER_DATASETS, Scope
    from mclrec.recipes import parse_setting

    scope = Scope(
        _names(datasets) or PAPER_DATASETS,
        _names(models),
        seeds,
        dict(parse_setting(text) for text in setting or []),
    )
    if dry:
        view.dry_run(what, scope, out)
        return 0
    return view.run(what, scope, out, workers, budget)


@app.command(
    epilog=_examples(
        "mclrec report runs/beauty-sasrec-seed1 runs/beauty-mclrec-seed1 --out beauty.html",
        "mclrec report runs/reproduce",
    )
)
def report(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...|DIR", help="Runs on the same data, or what mclrec reproduce has written."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="HTML file; report.html in the first directory if not given."),
    ] = None,
) -> None:
    """Write one HTML file with tables and plots, that needs no network: of runs, or of a campaign."""
    from mclrec.report.write import write_report

    typer.echo(write_report(places, out))


@app.command(epilog=_examples("mclrec models", "mclrec models mclrec"))
def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Model to describe; all are listed if not given."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The models there are, or one model's settings and recipes."""
    from mclrec.cli.catalogue import describe, listing
    from mclrec.cli.tables import print_model, print_models

    found = listing() if name is None else describe(name)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    elif name is None:
        print_models(found)
    else:
        print_model(found)


@app.command(epilog=_examples("mclrec datasets", "mclrec datasets beauty", "mclrec datasets sports --groups"))
def datasets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Data set or log to describe; all are listed if not given."),
    ] = None,
    groups: Annotated[
        bool, typer.Option("--groups", help="By users' sequence length, as in table 5.")
    ] = False,
) -> None:
    """The named data sets, or the sizes of one as in the paper's tables 2 and 5."""
    from mclrec.cli.tables import print_datasets, print_sizes

    if name is None:
        if groups:
            raise ConfigError("--groups needs a data set's name")
        print_datasets()
    else:
        print_sizes(name, groups=groups)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Of the runs.")] = Path("runs/demo"),
    seed: SeedOption = 1,
) -> None:
    """Train MCLRec and SASRec on the bundled grocery data, compare them with trivial systems, and recommend."""
    from mclrec.cli.demo import run_demo

    run_demo(out, seed)


def _columns(
    user: str | None, item: str | None, time: str | None, sequence: str | None, file_order: bool
) -> dict[str, Any]:
    """Keywords of `Columns`: what was given."""
    named = {"user": user, "item": item, "time": time, "sequence": sequence, "file_order": file_order or None}
    return {role: value for role, value in named.items() if value is not None}


def _ids(text: str) -> list[str]:
    """Comma-separated ids; quotes keep commas inside an id."""
    import csv

    row: Iterable[str] = next(csv.reader([text], skipinitialspace=True), [])
    return [value.strip() for value in row if value.strip()]


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _row_json(row: Any) -> dict[str, Any]:
    return {
        "system": row.label,
        "seeds": row.seeds,
        "metrics": row.metrics,
        "difference": row.difference,
        "p": row.p,
    }


def _without_resume(words: list[str]) -> list[str]:
    """The words of the command as it was first given."""
    return [word for word in words if word != "--resume"]
