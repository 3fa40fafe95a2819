"""Slices: metrics of groups of targets, to show for whom a system works, which an overall mean hides.

A slicing assigns each target to one of its slices: by the length of the history, the target's popularity, the time
since the user's last interaction, whether the target is a repeat, whether the item or the user occurs in training at
all, or by a column of the log. As slices partition the targets, the mean over all targets is the mean over slices
weighted by their numbers of targets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from mclrec.data.packed import IntArray
from mclrec.errors import EvaluationError, quoted
from mclrec.evaluation.metrics import FloatArray, Metric
from mclrec.evaluation.protocol import RankTable
from mclrec.evaluation.significance import Interval, confidence_interval
from mclrec.randomness import Stream, generator
from mclrec.records import Records
from mclrec.wording import count_of

if TYPE_CHECKING:  # imports the readers of logs, which are not needed here
    from mclrec.data.target_labels import TargetLabels

__all__ = ["FEW", "Slice", "SliceValue", "Slices", "Slicing", "label_slicing", "measure_slices", "slicings"]

FEW = 30
"""Number of targets below which a slice's confidence interval is unreliable."""

_QUANTILES = 4
_LABELS = 10
"""Number of a column's values with slices of their own; if several others remain, these share one slice."""

_KEYS = ("history", "popularity", "repeat", "time", "item", "user")
"""Keys of the built-in slicings; a column with one of these names gets a different key."""

_HOUR, _DAY = 3600, 86_400
_SPANS = (
    ("same moment", 0),
    ("up to an hour", _HOUR),
    ("up to a day", _DAY),
    ("up to a week", 7 * _DAY),
    ("up to 30 days", 30 * _DAY),
    ("over 30 days", None),
)
"""Slices by time since the last interaction, with the upper limit of each in seconds."""

COLD = (
    "Items that never occur in training have no vector and no count: a model that knows items by their ids cannot "
    "recommend them, and a hit among them is an accident of ties."
)


@dataclass(frozen=True, slots=True, eq=False)
class Slicing:
    """A partition of M targets.

    Attributes:
        key: name in JSON and in Python.
        title: display name.
        names: names of the slices, in order.
        places: (M,) slice of each target, as an index into ``names``.
        note: a remark; None if there is none.
    """

    key: str
    title: str
    names: tuple[str, ...]
    places: IntArray
    note: str | None = None

    def slices(self) -> list[Slice]:
        """The slices with their targets, empty slices included."""
        return [Slice(name, np.flatnonzero(self.places == place)) for place, name in enumerate(self.names)]


class Slice(NamedTuple):
    """A slice: its name, and the rows of its targets."""

    name: str
    rows: IntArray


@dataclass(frozen=True, slots=True)
class SliceValue:
    """A metric of one system in one slice.

    Attributes:
        by: key of the slicing, such as ``history``.
        slice: name of the slice.
        targets: number of targets in the slice.
        share: share of all targets.
        system: name of the system.
        metric: name of the metric, such as NDCG@10.
        mean: mean over the slice's targets; None if there are none.
        low: lower end of the 95 % interval, by the bootstrap over users; None if all values are equal (as a single one
            is), since resampling them shows no variation.
        high: upper end of that interval; None likewise.
    """

    by: str
    slice: str
    targets: int
    share: float
    system: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None

    @property
    def few(self) -> bool:
        """Whether the slice has too few targets for a reliable interval."""
        return self.targets < FEW

    @property
    def text(self) -> str:
        """Mean and interval as text."""
        if self.mean is None:
            return "none"
        if self.low is None or self.high is None:
            return f"{self.mean:.4f}"
        return f"{self.mean:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Metrics of several systems by slices of their common targets.

    Attributes:
        slicings: the slicings, in order.
        systems: names of the systems, in order.
        metrics: names of the metrics, in order.
        values: one value per slice, system and metric.
        notes: remarks.
    """

    slicings: tuple[Slicing, ...]
    systems: tuple[str, ...]
    metrics: tuple[str, ...]
    values: Sequence[SliceValue]
    notes: tuple[str, ...] = ()

    def of(self, by: str, name: str) -> dict[tuple[str, str], SliceValue]:
        """Values of one slice by system and metric."""
        return {(one.system, one.metric): one for one in self.values if (one.by, one.slice) == (by, name)}

    def to_arrow(self) -> pa.Table:
        """A table with one row per slice, system and metric; ``.to_pandas()`` or Polars convert it to a data frame."""
        names = list(SliceValue.__dataclass_fields__)
        rows = [asdict(value) for value in self.values]
        kinds = {"targets": pa.int64(), "share": pa.float64()} | dict.fromkeys(
            ("mean", "low", "high"), pa.float64()
        )
        return pa.table(
            {name: pa.array([row[name] for row in rows], kinds.get(name, pa.string())) for name in names}
        )

    def to_json(self) -> dict[str, Any]:
        """The values and notes as a JSON object."""
        return {"values": [asdict(value) for value in self.values], "notes": list(self.notes)}


# -------------------------------------------------------------------------------- slicings


def slicings(table: RankTable) -> list[Slicing]:
    """The slicings that can be made from a table of ranks; they depend on its targets, not on its ranks.

    The slicing by time requires data with times; the one by user is not available in tables of earlier versions.
    """
    found = [
        _by_quantiles("history", "items in the history", table.history_lengths),
        _by_popularity(table.popularity),
        Slicing(
            "repeat",
            "repeat or discovery",
            ("in the history", "new to the user"),
            np.where(table.in_history, 0, 1),
        ),
    ]
    if table.gaps is not None:
        found.append(_by_time(table.gaps, table.units_per_second))
    found.append(
        Slicing(
            "item", "item", ("in training", "never in training"), np.where(table.popularity > 0, 0, 1), COLD
        )
    )
    if table.user_counts is not None:
        found.append(
            Slicing(
                "user", "user", ("in training", "never in training"), np.where(table.user_counts > 0, 0, 1)
            )
        )
    return found


def label_slicing(labels: TargetLabels) -> Slicing:
    """Slicing by a column of the log: its most frequent values, all other values together, and targets without a value.

    Equally frequent values are sorted as text.
    """
    counts = Counter(value for value in labels.values if value is not None)
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    kept = ordered if len(ordered) <= _LABELS + 1 else ordered[:_LABELS]
    names, places = list(kept), {value: place for place, value in enumerate(kept)}
    notes = []
    if rest := len(ordered) - len(kept):
        other = _free("other values", places)
        places |= dict.fromkeys(ordered[len(kept) :], len(names))
        names.append(other)
        notes.append(
            f"{count_of(len(ordered), 'value')} among the targets; the {rest:,} rarest are {quoted(other)}"
        )
    if None in labels.values:
        names.append(_free("no value", places))
    if labels.ambiguous:
        notes.append(
            f"{count_of(labels.ambiguous, 'target')} are in several rows with different values: the first row is used"
        )
    of_targets = [places[value] if value is not None else len(names) - 1 for value in labels.values]
    return Slicing(
        f"column {labels.column}" if labels.column in _KEYS else labels.column,
        labels.column,
        tuple(names),
        np.array(of_targets, dtype=np.int64),
        "; ".join(notes) or None,
    )


def _free(name: str, taken: Mapping[str, int]) -> str:
    """A variant of a name that is not taken."""
    while name in taken:
        name = f"({name})"
    return name


def _by_quantiles(key: str, title: str, values: IntArray) -> Slicing:
    """Slicing by quantiles of a number: up to four slices of sizes as equal as ties allow, in ascending order."""
    names, places = _quantiles(values)
    return Slicing(key, title, names, places)


def _quantiles(values: IntArray) -> tuple[tuple[str, ...], IntArray]:
    """Names of the quantile slices, and the index of each value's slice."""
    if not len(values):
        return (), np.zeros(0, dtype=np.int64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _QUANTILES + 1), method="nearest"))
    starts = edges[:-1] if len(edges) > 1 else edges
    places = np.searchsorted(starts, values, side="right") - 1
    found = np.unique(places)
    names = []
    for place in found:
        own = values[places == place]
        low, high = int(own.min()), int(own.max())
        names.append(f"{low:,}" if low == high else f"{low:,}\N{EN DASH}{high:,}")
    return tuple(names), np.searchsorted(found, places)


def _by_popularity(popularity: IntArray) -> Slicing:
    """Slicing by quantiles of the popularity; targets that do not occur in training are a slice of their own."""
    shown = popularity > 0
    names, places = _quantiles(popularity[shown])
    all_places = np.zeros(len(popularity), dtype=np.int64)
    all_places[shown] = places + 1
    return Slicing("popularity", "occurrences of the item in training", ("0", *names), all_places)


def _by_time(gaps: IntArray, per_second: int | None) -> Slicing:
    """Slicing by the time since the user's last interaction; by its quantiles if the log's time unit is not known."""
    title = "time since the last interaction"
    if per_second is None:
        return _by_quantiles("time", f"{title}, in the log's unit", gaps)
    limits = [seconds * per_second for _, seconds in _SPANS if seconds is not None]
    places = np.searchsorted(np.array(limits), gaps, side="left")
    return Slicing("time", title, tuple(name for name, _ in _SPANS), places)


# -------------------------------------------------------------------------------- metrics


def measure_slices(
    found: Sequence[Slicing],
    systems: Mapping[str, Sequence[RankTable]],
    metrics: Sequence[Metric],
    notes: Sequence[str] = (),
) -> Slices:
    """Measure systems in slices of their common targets.

    Args:
        found: slicings of the targets.
        systems: tables of ranks by name of the system, one per seed; values are means over seeds.
        metrics: the metrics to compute.
        notes: remarks to add.

    Raises:
        EvaluationError: there are no systems, they do not rank the same targets, or a slicing is of other targets.
    """
    tables = [table for group in systems.values() for table in group]
    if not tables or any(not tables[0].same_targets(table) for table in tables):
        raise EvaluationError("slices need systems that rank the same targets")
    total = len(tables[0])
    if any(len(one.places) != total for one in found):
        raise EvaluationError(f"a slicing does not cover the {count_of(total, 'target')} that were ranked")
    values = []
    for slicing in found:
        for part in slicing.slices():
            for name, group in systems.items():
                for metric in metrics:
                    interval = _interval([table.values(metric, part.rows) for table in group])
                    share = len(part.rows) / total if total else 0.0
                    values.append(
                        SliceValue(
                            slicing.key, part.name, len(part.rows), share, name, str(metric), *interval
                        )
                    )
    told = [f"By {one.title}: {one.note}" for one in found if one.note is not None]
    few = any(len(part.rows) < FEW for one in found for part in one.slices())
    if few:
        told.append(
            f"* fewer than {count_of(FEW, 'target')}: the interval is unreliable; where there is none, all values are "
            "equal."
        )
    columns = ("by", "slice", "targets", "system", "metric", "text")
    return Slices(
        tuple(found),
        tuple(systems),
        tuple(map(str, metrics)),
        Records(values, columns),
        (*told, *notes),
    )


def _interval(seeds: Sequence[FloatArray]) -> tuple[float | None, float | None, float | None]:
    """Mean and confidence interval; no mean if there are no targets, and no interval if all values are equal."""
    values = np.stack(seeds)
    if not values.shape[1]:
        return None, None, None
    if np.ptp(values.mean(axis=0)) == 0:
        return float(values.mean()), None, None
    found: Interval = confidence_interval(values, generator(0, Stream.BOOTSTRAP))
    return found.mean, found.low, found.high
