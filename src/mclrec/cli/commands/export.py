"""``mclrec export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mclrec.cli.app import (
    RunArgument,
    app,
    examples,
)
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import say
from mclrec.errors import ConfigError
from mclrec.wording import count_of

if TYPE_CHECKING:
    from mclrec.data.origin import Reading


@app.command(
    epilog=examples(
        "mclrec export runs/demo/mclrec --format onnx",
        "mclrec export runs/big --format onnx --index faiss",
        "mclrec export runs/demo/mclrec --format vectors --users log.csv --out vectors",
    )
)
@takes_long
@reads_log(rules=False)
def export(
    run: RunArgument,
    form: Annotated[
        Literal["onnx", "vectors"],
        typer.Option("--format", help="ONNX for serving, or item and user vectors as .npy and Parquet."),
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory to write; RUN/onnx or RUN/vectors if not given."),
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(metavar="faiss", help="With onnx: an index over the items, for a million or more."),
    ] = None,
    users: Annotated[
        str | None, typer.Option(metavar="LOG", help="With vectors: also those of this log's users.")
    ] = None,
    *,
    reading: Reading,
) -> None:
    """Write a model for other programs: as ONNX, compared with torch, or as vectors."""
    if form == "onnx" and users is not None:
        raise ConfigError("--users goes with --format vectors")
    if form == "vectors" and index is not None:
        raise ConfigError("--index goes with --format onnx")
    if users is None and reading.words():
        raise ConfigError(f"{reading.words()[0]} goes with --users")
    from mclrec.inference.exporter import export_onnx
    from mclrec.inference.vector_exporter import NEAR, export_vectors

    if form == "onnx":
        report = export_onnx(run, out, index)
        say(
            f"{report.directory}: largest difference from torch {report.difference:.1e} "
            f"on {count_of(report.histories, 'history', 'histories')} of every length"
        )
        if report.index is not None:
            say("index: {lists} lists, {probes} searched, recall@{k} {recall:.4f}".format(**report.index))
        return
    directory = export_vectors(run, out, users=users, reading=reading)
    say(f"{directory}: vectors written")
    if (directory / NEAR).exists():
        say(
            f"dot products of vectors are not yet the model's scores: add the co-occurrence terms, see {NEAR}"
        )
