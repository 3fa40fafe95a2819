"""Slices: metrics of groups of targets, so that a mean does not hide for whom a system works.

A slicing puts each target into one of its slices: by the length of the history, the target's popularity, the time since
the user's last interaction, whether the target is a repeat, whether training has shown the item and the user at all, or
by a column of the log. As slices partition the targets, the mean over all of them is that of the slices, weighted by
their targets.
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

if TYPE_CHECKING:  # which reads logs
    from mclrec.data.target_labels import TargetLabels

__all__ = ["FEW", "Slice", "SliceValue", "Slices", "Slicing", "label_slicing", "measure_slices", "slicings"]

FEW = 30
"""Targets below which the interval of a slice means little."""

_QUANTILES = 4
_LABELS = 10
"""Values of a column that have a slice of their own; targets with others are one slice."""

_KEYS = ("history", "popularity", "repeat", "time", "item", "user")
"""Keys of the slicings that every table of ranks allows; a column that is called so has another."""

_HOUR, _DAY = 3600, 86_400
_SPANS = (
    ("same moment", 0),
    ("up to an hour", _HOUR),
    ("up to a day", _DAY),
    ("up to a week", 7 * _DAY),
    ("up to 30 days", 30 * _DAY),
    ("over 30 days", None),
)
"""Slices by time, with the most seconds of each."""

COLD = (
    "Items that training never shows have no vector and no count: a model that knows items by their ids cannot "
    "recommend them, and a hit among them is an accident of ties."
)


@dataclass(frozen=True, slots=True, eq=False)
class Slicing:
    """A partition of M targets.

    Attributes:
        key: its name in JSON and in Python.
        title: its name for people.
        names: of its slices, in order.
        places: (M,) slice of each target, a place in ``names``.
        note: what else is to be known; None for nothing.
    """

    key: str
    title: str
    names: tuple[str, ...]
    places: IntArray
    note: str | None = None

    def slices(self) -> list[Slice]:
        """The slices with their targets, those without any among them."""
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
        targets: in it.
        share: of all targets.
        system: name of the system.
        metric: such as NDCG@10.
        mean: over the slice's targets; None where there are none.
        low: lower end of the 95 % interval, by the bootstrap over users; None where all values are alike (a single one
            is), so that resampling them shows nothing.
        high: upper end.
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
        """Whether its targets are so few that the interval means little."""
        return self.targets < FEW

    @property
    def text(self) -> str:
        """Mean and interval for people."""
        if self.mean is None:
            return "none"
        if self.low is None or self.high is None:
            return f"{self.mean:.4f}"
        return f"{self.mean:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Metrics of several systems by slices of their common targets.

    Attributes:
        slicings: in order.
        systems: names, in order.
        metrics: names, in order.
        values: one a slice, system and metric.
        notes: what else is to be known.
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
        """A table with a row a slice, system and metric; ``.to_pandas()`` or Polars make a data frame of it."""
        names = list(SliceValue.__dataclass_fields__)
        rows = [asdict(value) for value in self.values]
        kinds = {"targets": pa.int64(), "share": pa.float64()} | dict.fromkeys(
            ("mean", "low", "high"), pa.float64()
        )
        return pa.table(
            {name: pa.array([row[name] for row in rows], kinds.get(name, pa.string())) for name in names}
        )

    def to_json(self) -> dict[str, Any]:
        """The values ready for JSON."""
        return {"values": [asdict(value) for value in self.values], "notes": list(self.notes)}


# -------------------------------------------------------------------------------- which


def slicings(table: RankTable) -> list[Slicing]:
    """The slicings that a table of ranks allows, whatever ranked its targets.

    There are none by time where the data have no times, and none by users in tables of earlier versions.
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
    """Slices by a column of the log: its most frequent values, all others together, and targets without a value.

    Equally frequent values come in the order of their text.
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
            f"{count_of(labels.ambiguous, 'target')} stand in several rows with different values: the first row counts"
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
    """A name that no value has."""
    while name in taken:
        name = f"({name})"
    return name


def _by_quantiles(key: str, title: str, values: IntArray) -> Slicing:
    """Slices of targets as equal in size as ties allow, up to four, ordered by a number."""
    names, places = _quantiles(values)
    return Slicing(key, title, names, places)


def _quantiles(values: IntArray) -> tuple[tuple[str, ...], IntArray]:
    """Names of the slices, and the slice of each value."""
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
    """Quantiles of the counts; targets that training never shows are a slice of their own."""
    shown = popularity > 0
    names, places = _quantiles(popularity[shown])
    all_places = np.zeros(len(popularity), dtype=np.int64)
    all_places[shown] = places + 1
    return Slicing("popularity", "times that training shows the item", ("0", *names), all_places)


def _by_time(gaps: IntArray, per_second: int | None) -> Slicing:
    """Slices by the time since the user's last interaction; by quantiles where the log's unit is not known."""
    title = "time since the last interaction"
    if per_second is None:
        return _by_quantiles("time", f"{title}, in the log's unit", gaps)
    limits = [seconds * per_second for _, seconds in _SPANS if seconds is not None]
    places = np.searchsorted(np.array(limits), gaps, side="left")
    return Slicing("time", title, tuple(name for name, _ in _SPANS), places)


# -------------------------------------------------------------------------------- measured


def measure_slices(
    found: Sequence[Slicing],
    systems: Mapping[str, Sequence[RankTable]],
    metrics: Sequence[Metric],
    notes: Sequence[str] = (),
) -> Slices:
    """Measure systems in slices of their common targets.

    Args:
        found: slicings of the targets.
        systems: tables of ranks by name, one a seed; means are over seeds.
        metrics: to measure.
        notes: what else is to be known.

    Raises:
        EvaluationError: the systems do not rank the same targets, or slicings are of others.
    """
    tables = [table for group in systems.values() for table in group]
    if not tables or any(not tables[0].same_targets(table) for table in tables):
        raise EvaluationError("slices need systems that rank the same targets")
    total = len(tables[0])
    if any(len(one.places) != total for one in found):
        raise EvaluationError(f"a slicing is not of the {count_of(total, 'target')} that were ranked")
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
            f"* fewer than {count_of(FEW, 'target')}: the interval means little; without one, all values are alike."
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
    """Mean and interval; no mean without targets, and no interval where all values are alike."""
    values = np.stack(seeds)
    if not values.shape[1]:
        return None, None, None
    if np.ptp(values.mean(axis=0)) == 0:
        return float(values.mean()), None, None
    found: Interval = confidence_interval(values, generator(0, Stream.BOOTSTRAP))
    return found.mean, found.low, found.high
