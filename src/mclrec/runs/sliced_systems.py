"""Metrics of a run by slices of its targets, beside those of popularity and Markov on the same targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mclrec.arguments import list_of, text_of
from mclrec.data.split import Split, Targets
from mclrec.data.target_labels import read_labels
from mclrec.errors import ConfigError
from mclrec.evaluation.metrics import Metric, main_metric
from mclrec.evaluation.protocol import RankTable, Result
from mclrec.evaluation.ranking import rank_targets
from mclrec.evaluation.slices import Slices, Slicing, label_slicing, measure_slices, slicings
from mclrec.runs.baselines import system_name, too_large, trained_baselines

__all__ = ["check_slice_columns", "column_slicings", "result_slices"]


def check_slice_columns(given: Any) -> list[str]:
    """Check and return the names of columns to slice by, given one or several.

    Raises:
        ConfigError: a name is not text, is empty, or is given twice.
    """
    if given is None:
        return []
    listed = [given] if isinstance(given, str) else list_of("columns", "slice_by", given)
    columns = [text_of("slice_by", name) for name in listed]
    for place, name in enumerate(columns):
        if not name:
            raise ConfigError("a slice by a column needs its name, and got an empty one")
        if name in columns[:place]:
            raise ConfigError(f"the column {name!r} to slice by is given twice")
    return columns


def column_slicings(targets: Targets, columns: Sequence[str], source: Any = None) -> list[Slicing]:
    """Slicings of targets by columns of their log.

    Args:
        targets: targets of data that record their origin.
        columns: columns of the log.
        source: the log, if it came from memory.

    Raises:
        DataError: the log cannot be read again, or has no such column.
    """
    return [label_slicing(read_labels(targets, column, source)) for column in columns]


def result_slices(
    split: Split,
    result: Result,
    found: Sequence[Slicing],
    *,
    ks: tuple[int, ...] | None,
    progress: Callable[[int], None],
) -> Slices:
    """Metrics of a result and of the baselines by slices of the targets.

    Args:
        split: split of the targets.
        result: exact ranks, under one protocol.
        found: slicings by columns, which come before the others.
        ks: requested cutoffs: the metrics have the main metric's cutoff, or the first of these if it is not among them.
        progress: called after each batch with the number of targets in it.
    """
    own = result.table("")
    k = main_metric(split.data.num_items).k
    if ks and k not in ks:
        k = ks[0]
    name = system_name(result.model, result.config)
    systems: dict[str, Sequence[RankTable]] = {name: [own]}
    skipped = too_large(result.targets)
    for other, baseline in () if skipped else trained_baselines(split, name):
        ranks = rank_targets(baseline, result.targets, seen=result.protocol.seen, progress=progress)
        systems[other] = [replace(own, ranks=ranks)]
    metrics = [Metric("ndcg", k), Metric("hr", k)]
    return measure_slices([*found, *slicings(own)], systems, metrics, [skipped] if skipped else [])
