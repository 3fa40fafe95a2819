"""Systems compared in a report: each has one or more runs that differ in seed, with their ranks, names and style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mclrec.data.intake import Intake
from mclrec.data.returns import protocol_order
from mclrec.evaluation.metrics import FloatArray, Metric, default_cuts, main_metric
from mclrec.evaluation.protocol import RankTable
from mclrec.report.plots import Style, style
from mclrec.runs.comparison import group_runs, rank_tables
from mclrec.runs.run import LABELS, Run, open_run

__all__ = ["Study", "System", "open_study"]


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """One system: all runs of the same model and settings.

    Attributes:
        label: name of the model, with the settings in which it differs from the others.
        style: how all plots draw it.
        runs: runs by name, which differ in seed.
        ranks: rank tables by label of the protocol, one per run.
    """

    label: str
    style: Style
    runs: dict[str, Run]
    ranks: dict[str, list[RankTable]]

    def values(self, protocol: str, metric: Metric) -> FloatArray:
        """(seeds, U) values of a metric, one per user; see `RankTable.values`."""
        return np.stack([table.values(metric) for table in self.ranks[protocol]])

    def mean(self, protocol: str, metric: Metric) -> float:
        """Mean of a metric over targets and seeds."""
        return float(self.values(protocol, metric).mean())

    @property
    def first(self) -> Run:
        """The first run."""
        return next(iter(self.runs.values()))


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """The systems of a report, on the same targets.

    Attributes:
        systems: in the order in which they were given.
    """

    systems: Sequence[System]

    @property
    def runs(self) -> dict[str, Run]:
        """All runs by name, in the order of the systems."""
        return {name: run for system in self.systems for name, run in system.runs.items()}

    @property
    def first(self) -> Run:
        """The first run, for what all runs have in common."""
        return self.systems[0].first

    @property
    def num_items(self) -> int:
        """V, the number of items."""
        return self.first.info.num_items

    @property
    def intake(self) -> Intake | None:
        """Intake of the log; None for runs of earlier versions."""
        return self.first.intake

    @property
    def order(self) -> tuple[str, str]:
        """Labels of the protocols, the one that suits the log first."""
        return protocol_order(None if self.intake is None else self.intake.left.returns)

    @property
    def plotted(self) -> str:
        """Label of the protocol of plots and slices: the one that suits the log."""
        return self.order[0]

    @property
    def targets(self) -> RankTable:
        """A rank table, for the properties of the targets, in which all tables agree."""
        return self.systems[0].ranks[LABELS[0]][0]

    @property
    def cuts(self) -> tuple[int, ...]:
        """Cutoffs of the metrics: those of the paper that the catalogue allows."""
        return default_cuts(self.num_items)

    @property
    def main_metric(self) -> Metric:
        """Metric for comparing systems: NDCG@10, or NDCG at the largest smaller cutoff that the catalogue allows."""
        return main_metric(self.num_items)


def open_study(directories: Sequence[Path]) -> Study:
    """Read runs, and group those that differ only in seed into systems.

    Raises:
        ModelFileError: a run is missing, damaged or unfinished.
        EvaluationError: runs differ in targets or data, or one seed of a system is given twice.
    """
    runs = [open_run(directory) for directory in directories]
    tables = {label: rank_tables(runs, "test", label) for label in LABELS}
    groups = group_runs(runs)
    names = _names(runs)
    return Study(
        [
            System(
                label,
                style(number),
                {names[index]: runs[index] for index in members},
                {protocol: [ranks[index] for index in members] for protocol, ranks in tables.items()},
            )
            for number, (label, members) in enumerate(groups.items())
        ]
    )


def _names(runs: Sequence[Run]) -> list[str]:
    """A unique name for each run: the model's, or the shortest end of the path that distinguishes runs of a model."""
    models = [run.info.model for run in runs]
    paths = [run.directory.absolute().parts for run in runs]
    names = []
    for model, path in zip(models, paths, strict=True):
        rivals = [other for name, other in zip(models, paths, strict=True) if name == model]
        length = 1
        while length < len(path) and sum(other[-length:] == path[-length:] for other in rivals) > 1:
            length += 1
        names.append(model if len(rivals) == 1 else "/".join(path[-length:]))
    return names
