"""``mclrec update``: replaces an earlier model with a newer one, if that is no worse."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mclrec.cli.app import (
    DataArgument,
    DeviceOption,
    JsonOption,
    TestFromOption,
    ValidFromOption,
    app,
    examples,
)
from mclrec.cli.pairs import distinct_pairs
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import PlainConsole, output, plain_table, print_json
from mclrec.errors import ConfigError

if TYPE_CHECKING:
    from mclrec.data.origin import Reading
    from mclrec.runs.judgement import Judgement
    from mclrec.runs.nightly import Update

REFUSED = 4
"""Exit status if the new model is refused and the earlier one stays."""


@app.command(
    epilog=examples(
        "mclrec update runs/mine today.csv --out runs/2026-06-02",
        "mclrec update live today.csv --out runs/2026-06-02 --final --export onnx --into live",
        "mclrec update live today.csv --out runs/2026-06-02 --floor ndcg@10=0.05 --floor hr@10=0.1",
    )
)
@takes_long
@reads_log()
def update(
    context: typer.Context,
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The earlier model: its run, its final model, or a link.")
    ],
    data: DataArgument,
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Directory of this update; the same command continues it."),
    ],
    floor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Refuse a model whose metric is below this; may be repeated."
        ),
    ] = None,
    final: Annotated[
        bool, typer.Option("--final", help="Then train it on everything, for the model that goes live.")
    ] = False,
    form: Annotated[
        Literal["onnx"] | None, typer.Option("--export", help="Then export it, for serving.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(metavar="LINK", help="Then point this symbolic link to it; the service reads the link."),
    ] = None,
    device: DeviceOption = "auto",
    valid_from: ValidFromOption = None,
    test_from: TestFromOption = None,
    *,
    reading: Reading,
    as_json: JsonOption = False,
) -> int:
    """Train a newer model from an earlier one, and let it take its place if it is no worse.

    Both, and popularity, are compared on the same held-out items of the newer log. The exit status is 0 where the new
    model is accepted, and 4 where it is refused and nothing changes.
    """
    from mclrec.runs.nightly import run_update
    from mclrec.runs.run import open_run
    from mclrec.runs.update_request import UpdateRequest, floors, split_of
    from mclrec.training.reporting import ProgressReporter

    words: list[str] = context.obj["words"]
    request = UpdateRequest(
        open_run(run),
        data,
        out,
        floors(distinct_pairs("--floor", map(_floor, floor or []))),
        final,
        form,
        into,
        device,
        reading,
        split_of(valid_from, test_from),
        shlex.join(["mclrec", *words]),
    )
    console = PlainConsole(stderr=True)
    outcome = run_update(
        request,
        lambda: ProgressReporter(console),
    )
    if as_json:
        print_json(outcome.model_dump(mode="json"))
    else:
        _print(outcome)
    if outcome.status == "interrupted":
        console.print(
            f"interrupted; nothing was replaced. The same command continues:\n  {request.command}",
            soft_wrap=True,
        )
        return 130
    return 0 if outcome.accepted else REFUSED


def _floor(text: str) -> tuple[str, float]:
    """Parse a floor, ``NAME=VALUE``.

    Raises:
        ConfigError: the text is not a name and a number.
    """
    name, sign, value = text.partition("=")
    try:
        if sign:
            return name, float(value)
    except ValueError:
        pass
    raise ConfigError(f"--floor {text!r}: should be a metric and a number, as in ndcg@10=0.05")


def _print(outcome: Update) -> None:
    """Print the comparison, and what was done."""
    if outcome.judgement is not None:
        _print_judgement(outcome.judgement)
    lines = []
    if outcome.status == "refused" and outcome.judgement is not None:
        lines = [f"refused: {fault}" for fault in outcome.judgement.faults]
        lines.append(f"nothing was replaced; the earlier model is {outcome.earlier}")
    if outcome.accepted:
        lines.append(f"accepted: {outcome.model}")
    if outcome.exported is not None:
        lines.append(f"exported: {outcome.exported}")
    if outcome.into is not None:
        lines.append(f"{outcome.into} now points to it; make the service reload")
    for line in lines:
        output().print(line, soft_wrap=True, markup=False)


def _print_judgement(judgement: Judgement) -> None:
    from mclrec.data.returns import PROTOCOLS
    from mclrec.evaluation.significance import p_text

    title = f"{judgement.targets:,} held-out items, {PROTOCOLS[judgement.protocol].title}"
    table = plain_table("", judgement.metric, "new model ahead by", "95 % interval", "p", title=title)
    table.add_row("new model", f"{judgement.value:.4f}", "", "", "")
    for rival in judgement.rivals:
        table.add_row(
            rival.name,
            f"{rival.value:.4f}",
            f"{rival.difference:+.4f}",
            f"{rival.low:+.4f} to {rival.high:+.4f}",
            p_text(rival.p),
        )
    output().print(table)
    if judgement.unknown:
        share = judgement.unknown / judgement.targets
        output().print(
            f"{judgement.unknown:,} of them ({share:.1%}) are items that the earlier model does not know: it misses "
            "them"
        )
    for floor in judgement.floors:
        verdict = "reached" if floor.value >= floor.least else "not reached"
        output().print(f"floor {floor.metric} {floor.least:g}: {floor.value:.4f}, {verdict}")
