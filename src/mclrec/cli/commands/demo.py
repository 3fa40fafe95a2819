"""``mclrec demo``: a tour on the bundled data, from a log to recommendations of named products."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from mclrec.cli.app import SeedOption, app, examples
from mclrec.cli.comparison_view import print_comparison
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.terminal import PlainConsole, print_recommendations
from mclrec.errors import ConfigError
from mclrec.extras import missing
from mclrec.files import check_writable

if TYPE_CHECKING:
    from mclrec.data.sequences import SequenceData
    from mclrec.runs.run import Run

_DATA = "complete-journey"
_TRAINED = ("sasrec", "mclrec")
_MODELS = ("markov", *_TRAINED)
_HOUSEHOLD = 100
"""Index of the user whose history and recommendations are shown."""


@app.command(
    epilog=examples("mclrec demo", "mclrec demo --epochs 2", "mclrec demo --out runs/second-demo --seed 2")
)
@takes_long
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory of the runs and the report.")] = Path(
        "runs/demo"
    ),
    seed: SeedOption = 1,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Epochs of each training; fewer make a shorter demo with worse models."
        ),
    ] = None,
) -> None:
    """Take a tour on bundled data: train, compare, recommend.

    MCLRec, SASRec and a Markov chain are trained on first purchases of households by the recipe that any log gets, in a
    few minutes. A demo that is there already is replaced.
    """
    from mclrec.data.loading import load
    from mclrec.recipes import default_recipe
    from mclrec.report.page import write_report
    from mclrec.runs.request import TrainRequest
    from mclrec.runs.training_run import train
    from mclrec.training.reporting import ProgressReporter

    console = PlainConsole()
    check_writable(out, "folder")
    _clear(out)
    without_report = missing("a report")
    if without_report:
        console.print(f"The demo ends without a report: {without_report}\n", soft_wrap=True)
    data = load(_DATA)
    console.print(
        f"{_DATA}: {data.num_users:,} households, {data.num_items:,} product types, "
        f"{data.num_interactions:,} first purchases. The task: predict each household's last purchase.\n"
    )
    runs = {}
    for name in _MODELS:
        console.print(Text(name, style="bold"))
        with ProgressReporter(PlainConsole(stderr=True), data=name == _MODELS[0]) as reporter:
            recipe = default_recipe(name, None)  # as for any log: the bundled data have their own section
            shorter = {"epochs": epochs} if epochs is not None and name in _TRAINED else None
            request = TrainRequest(data, name, recipe, shorter, seed=seed, out=out / name)
            runs[name] = train(request, reporter)
        if not runs[name].record.finished:
            raise KeyboardInterrupt  # the training handled Ctrl-C
    console.print()
    directories = [runs[name].directory for name in _MODELS]
    _show_verdict(directories, console)
    _show_household(runs["mclrec"], data, console)
    if not without_report:
        report = write_report(directories, out / "report.html")
        console.print(f"\nReport with the other protocol, all tables and plots: {report}")
    console.print(
        f'\nThe models are in {out}. Try one:\n  mclrec recommend {out}/mclrec --history "BANANAS,EGGS"'
    )


def _clear(out: Path) -> None:
    """Remove an earlier demo.

    Raises:
        ConfigError: ``out`` holds something that is not part of a demo.
    """
    if not out.exists():
        return
    foreign = sorted(entry.name for entry in out.iterdir() if entry.name not in (*_MODELS, "report.html"))
    if foreign:
        raise ConfigError(f"{out}: holds {foreign[0]}, which is not part of a demo; give another --out")
    shutil.rmtree(out)


def _show_verdict(directories: Sequence[Path], console: PlainConsole) -> None:
    """Print the comparison under the protocol that suits the data, and which system is ahead and how surely."""
    from mclrec.evaluation.protocol import SEEN_OF
    from mclrec.report.systems import open_study
    from mclrec.report.verdict import advice, pairs
    from mclrec.runs.comparison import compare_runs

    study = open_study(directories)
    label = study.order[0]
    print_comparison(compare_runs(directories, seen=SEEN_OF[label]), label, str(study.main_metric).lower())
    console.print(f"\n{advice(study, pairs(study, label), label)}\n")


def _show_household(run: Run, data: SequenceData, console: PlainConsole) -> None:
    """Print the training history of one household, and the recommendations for it."""
    from mclrec.data.split import leave_one_out

    training = leave_one_out(data).training
    history = [str(data.item_ids[int(item)]) for item in training.sequence(_HOUSEHOLD)]
    console.print(
        f"Household {data.user_ids[_HOUSEHOLD + 1]} bought these for the first time, in this order:"
    )
    console.print("  " + ", ".join(history) + "\n")
    console.print("MCLRec's ten recommendations:")
    print_recommendations(run.model.recommend(history, k=10))
    actual = [
        str(data.item_ids[int(item)])
        for item in data.sequence(_HOUSEHOLD)[len(training.sequence(_HOUSEHOLD)) :]
    ]
    console.print(f"What it bought next: {', '.join(actual)}")
