"""Report on a search: its trials, their validation metrics, and which settings matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mclrec.experiments.results_table import ResultTable, TableCell
from mclrec.recipes.space import Range
from mclrec.report.page import Section, write_page
from mclrec.report.plots import Scatter, best_so_far, parallel, ranked_bars, scatters, to_svg, value_curves
from mclrec.search.tuning import Outcome, TrialView
from mclrec.wording import count_of

__all__ = ["report_search"]

_MIN_TRIALS = 2
"""Minimum number of finished trials for plots."""


def report_search(outcome: Outcome, path: Path) -> Path:
    """Write the report on a search.

    Args:
        outcome: outcome of a search in which at least one trial is done.
        path: the HTML file to write.
    """
    done = [trial for trial in outcome.progress.trials if trial.state == "done" and trial.value is not None]
    sections = [_result(outcome)]
    if len(done) >= _MIN_TRIALS:
        sections += [_history(outcome, done), _settings(outcome, done)]
    sections += [
        Section("Trials", tables=[_trials(outcome)]),
        Section("Where the numbers come from", _provenance(outcome)),
    ]
    return write_page(path, f"Search: {outcome.plan.model} on {outcome.plan.data_name}", sections)


def _result(outcome: Outcome) -> Section:
    progress, best = outcome.progress, outcome.progress.best
    counts = ", ".join(f"{progress.count(state)} {state}" for state in ("done", "pruned", "failed", "left"))
    texts = [
        f"{len(progress.trials)} of {count_of(progress.total, 'trial')}: {counts}.",
        f"Compared by validation {progress.metric}.",
    ]
    texts.append(
        "No trial uses the test items; the command below trains the best recipe and evaluates it on them."
    )
    base = next((trial for trial in progress.trials if trial.number == 0), None)
    rows = [
        (
            name,
            [
                TableCell(f"{trial.value:.4f}", 1 if trial is best else 0, trial.value),
                *_cells(outcome, trial),
            ],
        )
        for name, trial in (("the recipe", base), ("the best trial", best))
        if trial is not None and trial.value is not None
    ]
    table = ResultTable(
        "The best trial and the recipe that the search started from",
        ["", progress.metric, *outcome.plan.space],
        rows,
    )
    return Section("Result", [*texts, outcome.command or ""], [table])


def _history(outcome: Outcome, done: list[TrialView]) -> Section:
    metric, best = outcome.progress.metric, outcome.progress.best
    values = [(trial.number, trial.value or 0.0) for trial in done]
    curves = [
        (trial.by_epoch, best is not None and trial.number == best.number)
        for trial in outcome.progress.trials
        if trial.by_epoch
    ]
    return Section(
        "History",
        [
            "First: finished trials, in the order in which they began. Second: all trials by epoch; the best in colour."
        ],
        pictures=[
            to_svg(best_so_far(values, "trial", f"validation {metric}"), "Validation metric by trial"),
            to_svg(value_curves(curves, "epoch", f"validation {metric}"), "Validation metric by epoch"),
        ],
    )


def _settings(outcome: Outcome, done: list[TrialView]) -> Section:
    metric = outcome.progress.metric
    values = [trial.value or 0.0 for trial in done]
    plots = {
        key: Scatter(
            [_place(trial.settings[key]) for trial in done],
            values,
            isinstance(dimension, Range) and dimension.log,
        )
        for key, dimension in outcome.plan.space.items()
    }
    pictures = [
        to_svg(scatters(plots, metric), f"{metric} by each setting"),
        to_svg(parallel(plots, values), "Settings of each trial"),
    ]
    if outcome.importance:
        figure = ranked_bars(outcome.importance, "importance (PED-ANOVA)")
        pictures.insert(0, to_svg(figure, "Importance of settings"))
    texts = ["Importance is computed by PED-ANOVA from finished trials; with few trials it is not reliable."]
    return Section("Settings", texts, pictures=pictures)


def _trials(outcome: Outcome) -> ResultTable:
    best = outcome.progress.best
    rows = []
    for trial in outcome.progress.trials:
        value = TableCell(
            "-" if trial.value is None else f"{trial.value:.4f}", int(trial is best), trial.value or 0.0
        )
        epochs = TableCell(str(len(trial.by_epoch)), value=len(trial.by_epoch))
        seconds = TableCell(f"{trial.seconds:.0f}", value=trial.seconds)
        cells = [
            TableCell(trial.state),
            value,
            epochs,
            seconds,
            *_cells(outcome, trial),
            TableCell(trial.problem),
        ]
        rows.append((str(trial.number), cells))
    columns = ["trial", "state", outcome.progress.metric, "epochs", "seconds", *outcome.plan.space, "problem"]
    return ResultTable(
        "All trials", columns, rows, ["The value of a pruned trial is the best that it reached."]
    )


def _cells(outcome: Outcome, trial: TrialView) -> list[TableCell]:
    """Cells with the trial's settings."""
    cells = []
    for key in outcome.plan.space:
        value = trial.settings.get(key, "-")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        cells.append(TableCell(f"{value:.4g}", value=float(value)) if number else TableCell(str(value)))
    return cells


def _provenance(outcome: Outcome) -> list[str]:
    plan, base = outcome.plan, outcome.plan.base
    return [
        f"Data {plan.data_name}, fingerprint {plan.fingerprint}, split {plan.split}.",
        f"Recipe {base.section}: {base.source}. Seed {plan.seed}.",
        "Settings are drawn by Optuna's TPE; trials are pruned by the median of the others at the same epoch.",
        *(f"{key}: {dimension}" for key, dimension in plan.space.items()),
    ]


def _place(value: Any) -> Any:
    """A setting's value as a position on an axis: names and booleans as text, numbers unchanged."""
    return str(value) if isinstance(value, str | bool) else value
