"""Metrics of runs on the terminal: one scoreboard per protocol, the one that suits the log first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mclrec.cli.terminal import output, plain_table, print_scoreboard
from mclrec.data.returns import protocol_order
from mclrec.errors import MclrecError
from mclrec.evaluation.further_metrics import FurtherMetrics
from mclrec.evaluation.protocol import SEEN_OF, Protocol, Result, Seen
from mclrec.runs.baselines import Score, read_baselines
from mclrec.runs.intake_file import returns_of
from mclrec.runs.run import Run, open_run
from mclrec.runs.scoreboard import scoreboard, scoreboards, skipped_baselines
from mclrec.wording import count_of

__all__ = ["baselines_of", "print_notes", "print_result", "print_scores", "rules_of", "run_json"]


def rules_of(run: Path, seen: Seen | None, *, as_json: bool) -> list[Seen]:
    """How to treat items of the history: as requested, else both ways, the one that suits the log first.

    JSON is read by programs and covers one protocol: U if none is requested.
    """
    if seen is not None:
        return [seen]
    if as_json:
        return ["keep"]
    try:
        returns = returns_of(open_run(run).directory)
    except MclrecError:  # the command reports it when it reads the run
        returns = None
    return [SEEN_OF[label] for label in protocol_order(returns)]


def baselines_of(run: Path, label: str) -> Sequence[Score]:
    """Baselines of a run under one protocol; none for runs of earlier versions."""
    found = read_baselines(run)
    return found.scores.get(label, ()) if found else ()


def run_json(run: Run) -> dict[str, Any]:
    """A run as JSON: where it is, how its training ended, and its test metrics by protocol."""
    record = run.record
    return {
        "run": str(run.directory),
        "model": run.info.model,
        "seed": run.info.seed,
        "status": record.status,
        "epochs": record.epochs,
        "best_epoch": record.best_epoch,
        "best_validation": record.best_validation,
        "near_items": None if record.near_items is None else record.near_items.model_dump(),
        "calibration": None if record.calibration is None else record.calibration.model_dump(),
        "seconds": record.seconds,
        "test": {label: part.metrics for label, part in record.test.items()},
    }


def print_scores(run: Run) -> None:
    """Print the test metrics of a run under both protocols, beside its baselines."""
    for board in scoreboards(run):
        print_scoreboard(board)
        output().print()
    if skipped := skipped_baselines(run):
        output().print(f"{skipped}\n", soft_wrap=True)


def print_result(run: Path, result: Result) -> None:
    """Print the result of evaluating a run beside its baselines, with a description of the protocol."""
    print_scoreboard(scoreboard(open_run(run), result))
    output().print(
        f"{result.protocol.description}; {count_of(result.num_targets, 'target')}\n", soft_wrap=True
    )
    if result.further is not None:
        _print_further(result.further, result.protocol)


def print_notes(further: FurtherMetrics) -> None:
    """Explain each metric beyond accuracy in a line, and print further notes."""
    lines = [f"{measure.title}: {measure.note}" for measure in further.measures]
    lines.append(
        "targets: what users took next, where comparable with lists; the unbiased HR is as certain as one from "
        f"{count_of(round(further.effective_targets), 'target')} of equal weight"
    )
    for line in (*lines, *further.notes):
        output().print(line, style="dim", soft_wrap=True)


def _print_further(further: FurtherMetrics, protocol: Protocol) -> None:
    """Print metrics beyond accuracy: a row per metric, a column per system and one for what users took next."""
    title = f"{protocol.part}, what is in lists of {further.k} ({protocol.label})"
    table = plain_table("", *further.systems, "targets", title=title)
    columns = [*further.systems.values(), further.targets]
    for measure in further.measures:
        values = (column.get(measure.key) for column in columns)
        texts = ("" if value is None else format(value, measure.form) for value in values)
        table.add_row(measure.title, *texts)
    output().print(table)
    output().print()
