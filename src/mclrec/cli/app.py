"""The commands. Each parses its words and calls one function of the library."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mclrec import __version__
from mclrec.errors import ConfigError

app = typer.Typer(
    name="mclrec",
    help="Sequential recommendation by meta-optimised contrastive learning: train, evaluate, recommend.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DataOption = Annotated[
    str, typer.Argument(metavar="DATA", help="A data set's name, a log, or prepared data.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run.")]
SeenOption = Annotated[
    Literal["keep", "drop"],
    typer.Option(help="Keep the items of a user's history as candidates (protocol U) or drop them (F)."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
    epilog="Examples: `mclrec train beauty` · "
    "`mclrec train complete-journey --model sasrec --seed 2` · "
    "`mclrec train log.csv --item-column sku --set beta=0.1 --set epochs=20 --out runs/mine` · "
    "`mclrec train newer.csv --from runs/mine`"
)
def train(
    data: DataOption,
    model: Annotated[str, typer.Option(help="Name of a model; see `mclrec models`.")] = "mclrec",
    recipe: Annotated[
        str | None, typer.Option(help="Section of the model's recipes, or a TOML file.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the run; a free one under runs/ if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 1,
    device: DeviceOption = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted or killed run.")
    ] = False,
    base: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Go on from an earlier model, on a newer log."),
    ] = None,
    split: Annotated[str, typer.Option("--split-by", help="leave-one-out, or time.")] = "leave-one-out",
    min_count: Annotated[
        int | None, typer.Option(min=1, help="k-core: interactions a user or item must have; 5 for a log.")
    ] = None,
    drop_repeats: Annotated[
        bool, typer.Option("--drop-repeats", help="Keep only the first interaction of a user with an item.")
    ] = False,
    user_column: Annotated[str | None, typer.Option(help="Column of the user; guessed if not given.")] = None,
    item_column: Annotated[str | None, typer.Option(help="Column of the item.")] = None,
    time_column: Annotated[str | None, typer.Option(help="Column of the time.")] = None,
    sequence_column: Annotated[
        str | None, typer.Option(help="Column that orders rows of the same time.")
    ] = None,
    file_order: Annotated[
        bool, typer.Option("--file-order", help="The log has no time; its rows stand in order.")
    ] = False,
    header: Annotated[
        bool | None, typer.Option(help="Whether the file has a header; guessed if not given.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> int:
    """Train a model on a log, measure it under both protocols, and write its directory."""
    from mclrec.cli import training
    from mclrec.recipes import parse_setting
    from mclrec.runs.sources import DataSource
    from mclrec.runs.train import TrainRequest

    columns = {"user": user_column, "item": item_column, "time": time_column, "sequence": sequence_column}
    named: dict[str, Any] = {key: value for key, value in columns.items() if value is not None}
    if file_order:
        named["file_order"] = True
    options = {"min_count": min_count, "header": header, "columns": named or None}
    source = DataSource(
        data,
        {key: value for key, value in options.items() if value is not None}
        | ({"drop_repeats": True} if drop_repeats else {}),
    )
    request = TrainRequest(
        source,
        model,
        recipe,
        dict(parse_setting(text) for text in setting or []),
        seed,
        out,
        device,
        resume,
        base,
        split,
        command=shlex.join(["mclrec", *_without_resume(sys.argv[1:])]),
    )
    return training.run(request, quiet=quiet)


@app.command(epilog="Example: `mclrec evaluate runs/beauty-mclrec-seed1 --seen drop --split validation`")
def evaluate(
    run: RunArgument,
    seen: SeenOption = "keep",
    split: Annotated[Literal["validation", "test"], typer.Option(help="Which held-out items.")] = "test",
    k: Annotated[
        list[int] | None, typer.Option("--k", min=1, help="Cuts; 5, 10 and 20 if not given.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Where the data are, if not where they were.")] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Rank a run's held-out items among the whole catalogue."""
    from mclrec.cli.progress import counting
    from mclrec.cli.tables import print_result
    from mclrec.runs.evaluate import evaluate_run

    with counting("targets", hidden=as_json) as advance:
        result = evaluate_run(
            run, part=split, seen=seen, ks=tuple(k or (5, 10, 20)), data=data, device=device, progress=advance
        )
    if as_json:
        typer.echo(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        print_result(result)


@app.command(
    epilog='Examples: `mclrec recommend runs/demo/mclrec --history "BANANAS,EGGS - X-LARGE" --k 5` · '
    "`mclrec recommend RUN --users log.csv --out recs.parquet`"
)
def recommend(
    run: RunArgument,
    history: Annotated[
        str | None, typer.Option(help='Item ids, oldest first: "a,b,c"; quote an id that holds a comma.')
    ] = None,
    users: Annotated[Path | None, typer.Option(help="A log; every user in it gets recommendations.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Parquet file for --users: user, rank, item, score.")
    ] = None,
    k: Annotated[int, typer.Option(help="How many items.")] = 10,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Items of the history may be recommended.")
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Recommend items after a history, or to every user of a log."""
    if (history is None) == (users is None) or (users is None) != (out is None):
        raise ConfigError("give either --history, or both --users and --out")
    from mclrec.cli.tables import print_recommendations
    from mclrec.runs.train import resolve_device
    from mclrec.serving.predictor import Model

    model = Model.load(run, resolve_device(device))
    if users is not None and out is not None:
        count = model.recommend_file(users, out, k, include_seen=include_seen)
        typer.echo(f"{out}: {k} items for each of {count} users")
        return
    found = model.recommend(_ids(history or ""), k, include_seen=include_seen)
    if as_json:
        typer.echo(json.dumps([item._asdict() for item in found], ensure_ascii=False))
    else:
        print_recommendations(found)


@app.command(epilog="Example: `mclrec compare runs/beauty-sasrec-seed1 runs/beauty-mclrec-seed1`")
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs on the same data; the first is the rival.")
    ],
    metric: Annotated[str, typer.Option(help="What is tested.")] = "ndcg@10",
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


@app.command()
def models(as_json: JsonOption = False) -> None:
    """The models there are."""
    from mclrec.cli.tables import print_models
    from mclrec.models import registry

    if as_json:
        entries = {name: registry.entry(name) for name in registry.names()}
        fields = ("title", "year", "paper", "family", "regimes")
        typer.echo(json.dumps({n: {f: getattr(e, f) for f in fields} for n, e in entries.items()}))
    else:
        print_models()


@app.command(
    epilog="Examples: `mclrec datasets` · `mclrec datasets beauty` · `mclrec datasets sports --groups`"
)
def datasets(
    name: Annotated[
        str | None, typer.Argument(help="Data set or log to describe; all are listed if not given.")
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
    out: Annotated[Path, typer.Option(help="Directory of the runs.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 1,
) -> None:
    """Train MCLRec and SASRec on the bundled grocery data, compare them with trivial systems, and recommend."""
    from mclrec.cli.demo import run_demo

    run_demo(out, seed)


def _ids(text: str) -> list[str]:
    """Comma-separated ids; quotes keep commas inside an id."""
    import csv

    row: Iterable[str] = next(csv.reader([text], skipinitialspace=True), [])
    return [value.strip() for value in row if value.strip()]


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
