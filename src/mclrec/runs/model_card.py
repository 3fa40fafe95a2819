"""The model card: a page for people in a run's directory."""

from __future__ import annotations

from collections.abc import Mapping

from mclrec.models import registry
from mclrec.recipes import Recipe
from mclrec.runs.run import LABELS, MeasuredPart, RunInfo, RunRecord

__all__ = ["model_card"]


def model_card(info: RunInfo, record: RunRecord, recipe: Recipe) -> str:
    """Markdown text of the card."""
    entry = registry.entry(recipe.model)
    data = info.data
    paper = f" ({entry.paper})" if entry.year else f" ({entry.paper}; a trivial system)"
    lines = [
        f"# {entry.title} on {data.name}",
        "",
        f"A next-item recommender: {entry.title}{paper}, trained with mclrec {info.versions['mclrec']}.",
        "",
        "    " + info.command,
        "",
        f"- data: {data.name} ({data}), fingerprint `{data.fingerprint}`, split {info.split}",
        f"- recipe: {recipe.section}; {recipe.source}",
        f"- seed {info.seed}, {record.epochs} epochs, best {record.best_epoch or '-'}",
        f"- {record.status} after {record.seconds} s on {record.device} ({record.threads} threads)",
        f"- versions: {', '.join(f'{name} {value}' for name, value in info.versions.items())}",
        "",
        *_results(record.test),
        *_expectation(recipe),
        "Use it:",
        "",
        '    mclrec recommend THIS_DIRECTORY --history "ITEM,ITEM,ITEM"',
        "",
    ]
    return "\n".join(lines)


def _results(results: Mapping[str, MeasuredPart]) -> list[str]:
    """Table of test metrics, with the rules of the protocols."""
    if not results:
        return ["Not measured on the test split: training was interrupted, or was a trial of a search.", ""]
    names = list(results[LABELS[0]].metrics)
    rows = [f"| test | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    for label in LABELS:
        values = " | ".join(f"{value:.4f}" for value in results[label].metrics.values())
        rows.append(f"| {label} | {values} |")
    return [*rows, "", *(f"{results[label].protocol.description}." for label in LABELS), ""]


def _expectation(recipe: Recipe) -> list[str]:
    """The recipe's interval, where it has one."""
    if recipe.expect is None:
        return []
    intervals = ", ".join(f"{name} {low} to {high}" for name, (low, high) in recipe.expect.intervals.items())
    return [f"To expect under {recipe.expect.protocol}, mean of several seeds: {intervals}.", ""]
