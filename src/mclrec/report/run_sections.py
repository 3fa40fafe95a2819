"""Report on runs: which system to choose, metrics, differences, training, ranks, slices, lists, examples, origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mclrec.data.intake_text import intake_warnings
from mclrec.data.returns import PROTOCOLS
from mclrec.data.sequences import SequenceData
from mclrec.errors import MclrecError
from mclrec.evaluation.metrics import Metric
from mclrec.evaluation.protocol import RankTable, library_versions
from mclrec.evaluation.significance import Interval, confidence_interval
from mclrec.experiments.results_table import ResultTable, TableCell, ranks_of
from mclrec.randomness import Stream, generator
from mclrec.report.example_lists import draw_examples
from mclrec.report.intake_page import TAKEN, intake_section
from mclrec.report.list_sections import list_section
from mclrec.report.page import Section, write_page
from mclrec.report.plots import hit_curves, learning_curves, to_svg
from mclrec.report.slice_sections import slice_section
from mclrec.report.systems import Study, System, open_study
from mclrec.report.verdict import Pair, advice, differences, pairs
from mclrec.runs.baselines import read_baselines
from mclrec.runs.intake_file import INTAKE
from mclrec.runs.remeasure import run_data
from mclrec.runs.run import LABELS
from mclrec.wording import count_of

__all__ = ["report_runs"]

_FEW = 3
"""Number of names that fit into a title."""

_METRICS = (
    "HR@k is the share of targets that are among the first k items of the list; NDCG@k also counts how high they are "
    "there (1 for the first place, 1/log2(rank + 1) for the others)."
)


def report_runs(directories: Sequence[Path], path: Path) -> Path:
    """Write the report on one run, or on several runs on the same data.

    Args:
        directories: directories of finished runs.
        path: the HTML file to write.

    Raises:
        ConfigError: an extra is not installed.
        ModelFileError: a run is missing, damaged or unfinished.
        EvaluationError: the runs rank different targets, or one run is given twice.
    """
    study = open_study(directories)
    found = {label: pairs(study, label) for label in LABELS}
    best = found[study.plotted][0].better if found[study.plotted] else study.systems[0]
    sections = [
        Section(
            "Which system to take",
            [*(advice(study, found[label], label) for label in study.order), *_seeds(study)],
        ),
        Section("Data", _data(study)),
        _taken(study),
        Section("Metrics", [*_protocols(study), _METRICS], [_metrics(study, label) for label in study.order]),
        *([_differences(study, found)] if found[study.plotted] else []),
        _training_and_ranks(study),
        slice_section(
            {system.label: system.ranks[study.plotted] for system in study.systems},
            study.main_metric,
            study.plotted,
            {system.label: system.style for system in study.systems},
        ),
        list_section(study, study.plotted),
        _examples(study, best),
        _runs(study),
    ]
    labels = [system.label for system in study.systems]
    names = ", ".join(labels) if len(labels) <= _FEW else f"{len(labels)} systems"
    return write_page(path, f"{names} on {study.first.info.data.name}", sections)


def _seeds(study: Study) -> list[str]:
    """Caveat about systems that were trained with one seed only."""
    once = [system.label for system in study.systems if len(system.runs) == 1 and system.first.record.epochs]
    if not once or len(study.systems) == 1:
        return []
    return [f"Trained with one seed: {', '.join(once)}. Another seed may change the order of close systems."]


def _data(study: Study) -> list[str]:
    """Sizes of the data and of the test, and dates."""
    info, targets = study.first.info, study.targets
    try:
        data: SequenceData | None = run_data(study.first)
    except MclrecError as problem:
        data, sizes = (
            None,
            f"{count_of(info.num_items, 'item')}; the data can no longer be read ({problem})",
        )
    if data is not None:
        sizes = (
            f"{count_of(data.num_users, 'user')}, {count_of(data.num_items, 'item')}, "
            f"{count_of(data.num_interactions, 'interaction')}, "
            f"{data.num_interactions / max(data.num_users, 1):.1f} per user"
        )
    ended = sorted(run.record.ended[:10] for run in study.runs.values())
    trained = ended[0] if ended[0] == ended[-1] else f"between {ended[0]} and {ended[-1]}"
    again = np.mean(targets.in_history)
    return [
        f"{info.data.name}: {sizes}. Fingerprint {info.data.fingerprint[:12]}.",
        (
            f"{len(targets):,} test targets by the {info.split} split, {_of_users(targets)}, after histories of "
            f"{np.median(targets.history_lengths):.0f} items (median); {again:.1%} of them are in their user's history."
        ),
        f"Trained {trained}; report of {datetime.now(UTC):%Y-%m-%d}, mclrec {library_versions()['mclrec']}.",
    ]


def _of_users(targets: RankTable) -> str:
    users = len(set(targets.users))
    return "one per user" if users == len(targets) else f"of {count_of(users, 'user')}"


def _protocols(study: Study) -> list[str]:
    results = study.first.record.test
    notes = [f"{PROTOCOLS[label].title}: {PROTOCOLS[label].note}" for label in study.order]
    return [*notes, *(f"{results[label].protocol.description}." for label in study.order if label in results)]


def _taken(study: Study) -> Section:
    """Section on the intake of the log, with warnings; runs of earlier versions did not record it."""
    if study.intake is None:
        return Section(
            TAKEN, [f"None: {study.first.directory} has no {INTAKE}, like runs of earlier versions."]
        )
    section = intake_section(study.intake)
    warned = [f"Note: {warning.text}." for warning in intake_warnings(study.intake)]
    return replace(section, text=[*section.text, *warned])


def _metrics(study: Study, label: str) -> ResultTable:
    metrics, main = [Metric(name, k) for name in ("hr", "ndcg") for k in study.cuts], study.main_metric
    means = {metric: [system.mean(label, metric) for system in study.systems] for metric in metrics}
    places = {metric: ranks_of(values) for metric, values in means.items()}
    rows = [
        (
            system.label,
            [
                *(
                    TableCell(f"{means[metric][row]:.4f}", places[metric][row], means[metric][row])
                    for metric in metrics
                ),
                _interval(confidence_interval(system.values(label, main), generator(0, Stream.BOOTSTRAP))),
                TableCell(str(len(system.runs)), value=len(system.runs)),
            ],
        )
        for row, system in enumerate(study.systems)
    ]
    legend = ["Bold: the best of a column; underlined: the second best."] if len(rows) > 1 else []
    baselines = _baselines(study, label, metrics)
    if baselines:
        legend.append("(baseline): counts on the same targets, for comparison with the metrics.")
    return ResultTable(
        f"Test, {PROTOCOLS[label].title}",
        ["system", *map(str, metrics), f"95 % of {main}", "seeds"],
        [*rows, *baselines],
        [*legend, *_means(study)],
    )


def _interval(found: Interval) -> TableCell:
    return TableCell(f"{found.low:.4f} to {found.high:.4f}", value=found.low)


def _baselines(study: Study, label: str, metrics: Sequence[Metric]) -> list[tuple[str, list[TableCell]]]:
    """Rows of the baselines that are not among the report's systems."""
    found = read_baselines(study.first.directory)
    models = {system.first.info.model for system in study.systems}
    rows = []
    for score in found.scores.get(label, ()) if found else ():
        if score.model not in models:
            values = [score.metrics[str(metric)] for metric in metrics]
            interval = Interval(score.metrics[str(study.main_metric)], score.low, score.high)
            cells = [TableCell(f"{value:.4f}", value=value) for value in values]
            rows.append(
                (f"{score.model} (baseline)", [*cells, _interval(interval), TableCell("-", value=0.0)])
            )
    return rows


def _means(study: Study) -> list[str]:
    several = any(len(system.runs) > 1 for system in study.systems)
    return ["Means over the seeds of a system."] if several else []


def _differences(study: Study, found: dict[str, list[Pair]]) -> Section:
    tables = [differences(found[label], label, study.main_metric) for label in study.order]
    return Section("Differences between systems", tables=tables)


def _training_and_ranks(study: Study) -> Section:
    histories = {name: run.history for name, run in study.runs.items() if run.history}
    by_run = {name: system.style for system in study.systems for name in system.runs}
    ranks = {system.label: [table.ranks for table in system.ranks[study.plotted]] for system in study.systems}
    curves = hit_curves(ranks, study.num_items, {system.label: system.style for system in study.systems})
    text, pictures = (
        [f"How many targets are among the first k items, for every k, under {study.plotted}."],
        [],
    )
    if (figure := learning_curves(histories, by_run)) is not None:
        text.insert(
            0, "The metric on the validation targets by epoch; a dot marks the epoch whose weights were kept."
        )
        pictures.append(to_svg(figure, "Validation metric by epoch"))
    pictures.append(to_svg(curves, "HR@k for every k"))
    return Section("Training and ranks" if len(pictures) > 1 else "Ranks", text, pictures=pictures)


def _examples(study: Study, system: System) -> Section:
    """Recommendations of the best system for some users, drawn at random."""
    try:
        examples = draw_examples(study, system)
    except MclrecError as problem:
        return Section("Examples", [f"None: {problem}"])
    text = (
        f"{len(examples)} users drawn at random: the end of the history, and what {system.label} recommends after it. "
        "The item that came next is marked where it is in the list. Items of the history are not recommended (F)."
    )
    return Section("Examples", [text], examples=examples)


def _runs(study: Study) -> Section:
    runs = study.runs
    rows = []
    for name, run in runs.items():
        info, record = run.info, run.record
        cells = [
            TableCell(info.command),
            TableCell(f"{info.recipe.section}: {info.recipe.source}"),
            TableCell(str(info.seed), value=info.seed),
            TableCell(
                f"{record.best_epoch} of {record.epochs}" if record.epochs else "none", value=record.epochs
            ),
            TableCell(f"{record.seconds:,.0f}", value=record.seconds),
        ]
        rows.append((name, cells))
    columns = ["run", "command", "recipe", "seed", "epoch kept", "seconds"]
    return Section("Runs", _machines(study), [ResultTable("How to repeat each run", columns, rows)])


def _machines(study: Study) -> list[str]:
    """Versions and machines, each listed once with the runs that used them."""
    had: dict[str, list[str]] = {}
    for name, run in study.runs.items():
        versions = " ".join(f"{library} {version}" for library, version in run.info.versions.items())
        machine = run.record.machine(run.info.training["precision"])
        had.setdefault(f"{versions}, {machine}", []).append(name)
    if len(had) == 1:
        return [f"All with {next(iter(had))}."]
    return [f"{', '.join(names)}: {text}." for text, names in had.items()]
