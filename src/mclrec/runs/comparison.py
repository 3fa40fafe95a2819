"""Comparison of runs on the same targets: differences from the first system, and what may be claimed about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mclrec.arguments import list_of
from mclrec.crashes import refusals_as_ours
from mclrec.data.split import check_part, looks_at_times
from mclrec.errors import ConfigError, EvaluationError
from mclrec.evaluation.claims import Finding, compare_with_baseline
from mclrec.evaluation.effects import nested_interval
from mclrec.evaluation.metrics import CUTS, Metric, check_cut, default_cuts, main_metric, parse_metric
from mclrec.evaluation.protocol import RankTable
from mclrec.evaluation.significance import Interval
from mclrec.models import registry
from mclrec.randomness import Stream, generator
from mclrec.runs.baselines import changed_settings
from mclrec.runs.run import Run, RunInfo, check_seen, open_run
from mclrec.runs.saved_settings import settings_now

__all__ = [
    "Ranked",
    "Row",
    "compare_runs",
    "compare_systems",
    "group_runs",
    "rank_tables",
    "ranked_runs",
    "same_times",
    "seeds_note",
    "tested_metric",
]

_ENOUGH = 5
"""Number of seeds from which the variation between them is known well enough."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """A system in a comparison, with the ranks it gives to the targets.

    Attributes:
        tables: one rank table per seed.
        seeds: seeds of its trainings.
        trained: whether another seed would give another model; False for a model that only counts.
        length: length of its lists, beyond which ranks are unknown; None if all items are ranked.
    """

    tables: Sequence[RankTable]
    seeds: tuple[int, ...]
    trained: bool
    length: int | None = None

    def metrics(self, cuts: Iterable[int]) -> dict[str, float]:
        """HR and NDCG averaged over the tables, at those cutoffs that its lists reach."""
        known = [k for k in cuts if self.length is None or k <= self.length]
        metrics = [Metric(name, k) for name in ("hr", "ndcg") for k in known]
        return {
            str(metric): float(np.mean([metric.mean(table.ranks) for table in self.tables]))
            for metric in metrics
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a comparison: all runs of the same model and settings, which differ in seed only.

    Attributes:
        label: name of the model, with the settings in which it differs from others in the table.
        seeds: seeds of its runs.
        metrics: means over its runs.
        interval: 95 % interval of the tested metric, from a bootstrap over users and, if there are several, seeds.
        trained: whether another seed would give another model; False for a model that only counts.
        finding: comparison with the first system in the tested metric; None for the first system itself.
    """

    label: str
    seeds: tuple[int, ...]
    metrics: dict[str, float]
    interval: Interval
    trained: bool
    finding: Finding | None

    @property
    def difference(self) -> float | None:
        """Difference from the first system in the tested metric; None for the first system itself."""
        return None if self.finding is None else self.finding.effect.difference.mean

    @property
    def p(self) -> float | None:
        """Two-sided p-value of the difference, for this comparison alone."""
        return None if self.finding is None else self.finding.effect.p

    @property
    def adjusted_p(self) -> float | None:
        """The p-value after Holm's correction over all comparisons with the first system."""
        return None if self.finding is None else self.finding.adjusted_p

    @property
    def claim(self) -> str | None:
        """One sentence on what may be claimed about the difference."""
        return None if self.finding is None else self.finding.claim


@refusals_as_ours()
def compare_runs(
    runs: Iterable[Any], *, seen: str = "keep", metric: str | None = None, part: str = "test"
) -> list[Row]:
    """Compare runs with the first of them; runs of one system that differ only in seed are averaged.

    Args:
        runs: runs on the same data, or their directories; the first is the baseline.
        seen: keep (U) or drop (F) items of the history.
        metric: the metric to test, such as ``hr@20``; if None, NDCG@10, or NDCG at the largest cutoff that the
            catalogue allows.
        part: part of the targets: validation or test.

    Returns:
        One row per system; its ``claim`` says in words what may be claimed.

    Raises:
        EvaluationError: the runs differ in targets or data, or one seed of a system is given twice; or the metric's
            cutoff is beyond the catalogue.
        ModelFileError: a run is damaged, or was not measured on this part under this protocol.
        ConfigError: no runs are given, or an unknown part, rule or metric.
    """
    if isinstance(runs, str | Path | Run):
        raise ConfigError("compare takes a list of runs, not a single one")
    runs = [open_run(run) for run in list_of("runs", "runs", runs, ordered=True)]
    if not runs:
        raise ConfigError("compare needs at least one run")
    check_part(part)
    label = check_seen(seen)
    num_items = runs[0].info.num_items
    tested = tested_metric(metric, num_items)
    return compare_systems(ranked_runs(runs, part, label), tested, default_cuts(num_items))


def tested_metric(metric: str | None, num_items: int) -> Metric:
    """The requested metric, or the main one of a catalogue of V items if None is requested.

    Raises:
        ConfigError: there is no such metric.
        EvaluationError: its cutoff is beyond the catalogue.
    """
    if metric is None:
        return main_metric(num_items)
    found = parse_metric(metric)
    check_cut(found.k, num_items)
    return found


def compare_systems(systems: Mapping[str, Ranked], metric: Metric, cuts: Iterable[int] = CUTS) -> list[Row]:
    """Compare systems with the first of them; all must rank the same targets.

    Args:
        systems: the systems, by label.
        metric: the metric to test, at a cutoff that the lists of all systems reach.
        cuts: cutoffs of the metrics that are listed.
    """
    values = {
        label: np.stack([table.values(metric) for table in system.tables])
        for label, system in systems.items()
    }
    findings = compare_with_baseline(values, str(metric))
    return [
        Row(
            label,
            system.seeds,
            system.metrics(cuts),
            nested_interval(values[label], generator(0, Stream.BOOTSTRAP)),
            system.trained,
            finding,
        )
        for (label, system), finding in zip(systems.items(), [None, *findings], strict=True)
    ]


def ranked_runs(runs: Sequence[Run], part: str, label: str) -> dict[str, Ranked]:
    """Group runs into systems, by a label that tells them apart.

    Raises:
        EvaluationError: the runs differ in targets or data, or one seed of a system is given twice.
        ModelFileError: a run is damaged, or was not measured on this part under this protocol.
    """
    tables = rank_tables(runs, part, label)
    return {
        system: Ranked(
            [tables[index] for index in members],
            tuple(runs[index].info.seed for index in members),
            not registry.entry(runs[members[0]].info.model).only_counts,
        )
        for system, members in group_runs(runs).items()
    }


def seeds_note(rows: Sequence[Row]) -> str | None:
    """Caveat on systems with few seeds, whose variation the intervals do not capture; None if all have enough."""
    trained = [row for row in rows if row.trained]
    one = [row.label for row in trained if len(row.seeds) == 1]
    few = [f"{row.label} ({len(row.seeds)})" for row in trained if 1 < len(row.seeds) < _ENOUGH]
    parts = []
    if one:
        parts.append(
            f"One seed of {', '.join(one)}: intervals and p reflect the sample of users only, not other trainings."
        )
    if few:
        parts.append(
            f"Few seeds of {', '.join(few)}: below {_ENOUGH}, what seeds add to intervals is only roughly known."
        )
    return " ".join(parts) or None


def rank_tables(runs: Sequence[Run], part: str, label: str) -> list[RankTable]:
    """The exact ranks of each run, after checking that all have the same targets and training data.

    Raises:
        EvaluationError: the runs rank different targets, or were trained on different data.
        ModelFileError: a run is damaged, or was not measured on this part under this protocol.
    """
    tables = [run.ranks(part, label) for run in runs]
    for run, table in zip(runs, tables, strict=True):
        _check_same_split(runs[0], run)
        _check_same_data(runs[0], run, same_targets=tables[0].same_targets(table))
    return tables


def _check_same_split(first: Run, run: Run) -> None:
    """Refuse runs whose targets were held out by different rules."""
    if run.info.split != first.info.split:
        raise EvaluationError(
            f"{run.directory}: was split by {run.info.split}, {first.directory} by {first.info.split}; compare runs "
            "with the same split"
        )


def _check_same_data(first: Run, run: Run, *, same_targets: bool) -> None:
    """Refuse runs on different data, even if the targets are equal, as for a log and the last rows of its users."""
    times = first.info.data.times
    same = run.info.data.fingerprint == first.info.data.fingerprint
    if same and times is not None and not same_times(run.info, times):
        raise EvaluationError(
            f"{run.directory}: was trained on a log with other times than {first.directory}, and a split by time "
            "depends on them; compare runs on the same data"
        )
    here, there = run.info.data.fingerprint[:12], first.info.data.fingerprint[:12]
    prints = f"(fingerprint {here}, not {there})"
    if not same_targets:
        raise EvaluationError(
            f"{run.directory}: ranks other targets than {first.directory} {prints if here != there else ''}".rstrip()
            + "; compare runs on the same data"
        )
    if run.info.data.fingerprint == first.info.data.fingerprint:
        return
    if run.info.split == "files":
        raise EvaluationError(
            f"{run.directory}: has other files for training, validation or test than {first.directory} {prints}; "
            "compare runs with the same split"
        )
    raise EvaluationError(
        f"{run.directory}: ranks the targets of {first.directory} but was trained on other data {prints}; train one of "
        "them again on the other's data"
    )


def same_times(info: RunInfo, times: str | None) -> bool:
    """Whether a run's data have times with this checksum, if its split looks at them and the run has recorded them."""
    return not looks_at_times(info.split) or info.data.times in (None, times)


def group_runs(runs: Sequence[Run]) -> dict[str, list[int]]:
    """Indices of the runs of each system, by a label that tells systems apart.

    The label names the settings in which a system differs from others of its model and from the baseline of its name.

    Raises:
        EvaluationError: one seed of a system is given twice.
    """
    infos = [run.info for run in runs]
    # The warm start is part of a system's identity: trained from scratch and from an earlier model are two systems.
    settings = [
        {**settings_now(info.model, info.config, info.training), "warm_start": info.warm_start}
        for info in infos
    ]
    systems: dict[str, list[int]] = {}
    for index, info in enumerate(infos):
        others = [other for place, other in enumerate(settings) if infos[place].model == info.model]
        changed = changed_settings(info.model, info.config)
        differing = [
            key
            for key in settings[index]
            if key in changed or len({repr(other.get(key)) for other in others}) > 1
        ]
        text = " ".join(f"{key}={settings[index][key]}" for key in differing)
        systems.setdefault(f"{info.model} {text}".strip(), []).append(index)
    for system, members in systems.items():
        _refuse_repeats(system, [runs[index] for index in members])
    return systems


def _refuse_repeats(system: str, runs: Sequence[Run]) -> None:
    """Refuse runs of one system with equal seeds, which would count as several trainings.

    Raises:
        EvaluationError: two runs of a system have the same seed.
    """
    first: dict[int, Run] = {}
    for run in runs:
        earlier = first.setdefault(run.info.seed, run)
        if earlier is not run:
            raise EvaluationError(
                f"{run.directory}: is seed {run.info.seed} of {system}, like {earlier.directory}; leave one of them "
                "out: seeds of a system are averaged"
            )
