"""``mclrec train``: progress while it goes on, a summary at its end."""

from __future__ import annotations

import shlex
from contextlib import nullcontext

from rich.console import Console

from mclrec.cli.processes import is_main
from mclrec.cli.tables import print_run
from mclrec.runs.train import TrainRequest, train
from mclrec.training.reporting import ProgressReporter

__all__ = ["run"]


def run(request: TrainRequest, *, quiet: bool = False) -> int:
    """Train; the exit status is 130 if a signal ended it. One of several processes speaks."""
    if not is_main():
        return 0 if train(request).record["status"] == "finished" else 130
    with nullcontext() if quiet else ProgressReporter(Console(stderr=True)) as reporter:
        finished = train(request, reporter)
    print_run(finished)
    if finished.record["status"] == "finished":
        return 0
    words = shlex.split(request.command or "mclrec train")
    if "--out" not in words:
        words += ["--out", str(finished.directory)]
    Console(stderr=True).print(
        f"interrupted; {finished.directory} holds the best weights so far. Go on with:\n  "
        f"{shlex.join([*words, '--resume'])}",
        highlight=False,
        soft_wrap=True,
    )
    return 130
