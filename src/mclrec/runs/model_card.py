"""The model card: a human-readable page in a run's directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mclrec.data.intake import Intake
from mclrec.data.intake_text import intake_lines, intake_warnings
from mclrec.data.returns import PROTOCOLS, protocol_order
from mclrec.errors import visible
from mclrec.models import registry
from mclrec.recipes import Recipe
from mclrec.runs.baselines import Baselines
from mclrec.runs.calibration import chosen_lines
from mclrec.runs.run import MeasuredBy, MeasuredPart, RunInfo, RunRecord
from mclrec.wording import count_of

__all__ = ["model_card"]


def model_card(
    info: RunInfo,
    record: RunRecord,
    recipe: Recipe,
    intake: Intake,
    baselines: Baselines | None,
    found: Sequence[str] = (),
) -> str:
    """Render the model card as Markdown.

    Args:
        info: everything that determined the run.
        record: results of the run.
        recipe: recipe of the run.
        intake: what was read from the log.
        baselines: baselines to show beside it; None if nothing was measured.
        found: how its settings were found, as lines of Markdown.
    """
    entry = registry.entry(recipe.model)
    data = info.data
    paper = f" ({entry.paper})" if entry.year else f" ({entry.paper}; a trivial system)"
    chosen = f", best {record.best_epoch or '-'}" if info.measured_by is None else ""
    lines = [
        f"# {entry.title} on {data.name}",
        "",
        f"A next-item recommender: {entry.title}{paper}, trained with mclrec {info.versions['mclrec']}.",
        "",
        "    " + info.command,
        "",
        f"- data: {data.name} ({data}), fingerprint `{data.fingerprint}`, split {info.split}",
        f"- recipe: {recipe.section}; {recipe.source}",
        f"- seed {info.seed}, {count_of(record.epochs, 'epoch')}{chosen}",
        f"- {record.status} after {record.seconds} s on {record.machine(info.training['precision'])}",
        *(f"- {line}" for line in chosen_lines(record)),
        f"- versions: {', '.join(f'{name} {value}' for name, value in info.versions.items())}",
        "",
        *(
            _results(record.test, intake.left.returns, baselines)
            if info.measured_by is None
            else _measured_elsewhere(info.measured_by)
        ),
        *_data(intake),
        *_expectation(recipe),
        *found,
        "Use it:",
        "",
        '    mclrec recommend THIS_DIRECTORY --history "ITEM,ITEM,ITEM"',
        "",
    ]
    return "\n".join(lines)


def _data(intake: Intake) -> list[str]:
    """Section on the data: what was read from the log, and its warnings."""
    rows = [f"| {label} | {_cell(text)} |" for label, text in intake_lines(intake)]
    warned = [f"- {visible(warning.text)}" for warning in intake_warnings(intake)]
    return [
        "The data:",
        "",
        "| | |",
        "| --- | --- |",
        *rows,
        "",
        *(["Note:", "", *warned, ""] if warned else []),
    ]


def _cell(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    return visible(text).replace("|", "\\|")


def _results(
    results: Mapping[str, MeasuredPart], returns: float | None, baselines: Baselines | None
) -> list[str]:
    """Tables of test metrics beside the baselines, with the rules of each protocol; the one that suits comes first."""
    if not results:
        return ["Not measured on the test split: training was interrupted, or was a trial of a search.", ""]
    lines = []
    for label in protocol_order(returns):
        measured = results[label]
        scores = {measured.model: measured.metrics}
        if baselines is not None:
            scores |= {score.model: score.metrics for score in baselines.scores.get(label, ())}
        names = list(measured.metrics)
        lines += [f"Test, {PROTOCOLS[label].title}. {PROTOCOLS[label].note}", ""]
        lines += [f"| | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
        for model, metrics in scores.items():
            lines.append(f"| {model} | {' | '.join(f'{metrics[name]:.4f}' for name in names)} |")
        lines += ["", f"{measured.protocol.description}.", ""]
    return lines


def _measured_elsewhere(by: MeasuredBy) -> list[str]:
    """Section that replaces the results in a final model's card: which run was measured, and its metrics."""
    passes = f" in {count_of(by.best_epoch, 'epoch')}, as many as validation chose" if by.best_epoch else ""
    first = f"This model was not measured. It learnt from all interactions{passes}; no data are left to measure it on."
    lines = [f"{first} The run that measured its settings is `{by.run}` (split {by.split}):", ""]
    if by.best_validation is not None:
        lines += [f"- validation {by.metric} {by.best_validation:.4f}", ""]
    if by.test:
        rows = {label: " | ".join(f"{value:.4f}" for value in by.test[label].values()) for label in by.test}
        names = list(next(iter(by.test.values())))
        lines += [f"| test of that run | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
        lines += [*(f"| {label} | {row} |" for label, row in rows.items()), ""]
    return lines


def _expectation(recipe: Recipe) -> list[str]:
    """Section on the recipe's expected metrics, if it has any."""
    if recipe.expect is None:
        return []
    intervals = ", ".join(f"{name} {low} to {high}" for name, (low, high) in recipe.expect.intervals.items())
    return [f"To expect under {recipe.expect.protocol}, mean of several seeds: {intervals}.", ""]
