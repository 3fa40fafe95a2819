"""Statistics of timings: medians with their spread, and growth as a slope on log axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

__all__ = ["Curve", "Finding", "Point", "Spread", "quantity", "slope"]


@dataclass(frozen=True, slots=True)
class Spread:
    """One quantity measured in several rounds.

    Attributes:
        values: one value per round.
        unit: unit of the values.
    """

    values: tuple[float, ...]
    unit: str

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)

    @property
    def relative(self) -> float:
        """Relative spread: (highest - lowest) / median."""
        return (max(self.values) - min(self.values)) / self.median

    def to_json(self) -> dict[str, Any]:
        """The values with unit, median, lowest and highest, for a result file."""
        return {
            "unit": self.unit,
            "values": [_rounded(value) for value in self.values],
            "median": _rounded(self.median),
            "lowest": _rounded(min(self.values)),
            "highest": _rounded(max(self.values)),
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table: a measured number, and the target that it should meet.

    Attributes:
        what: the quantity and its conditions.
        value: the number.
        unit: ``x`` for a ratio, ``slope`` for an exponent of growth, "" for a metric.
        target: value that it should meet; None without one.
        sense: whether the number must be at most or at least the target.
        ours: our quantity from which the number was computed, with its unit; "" if it is the number itself.
        theirs: the peer's quantity, likewise.
        rounds: lowest and highest value of the rounds; None if the number is not computed by round.
    """

    what: str
    value: float
    unit: str
    target: float | None = None
    sense: Literal["at most", "at least"] = "at most"
    ours: str = ""
    theirs: str = ""
    rounds: tuple[float, float] | None = field(default=None, kw_only=True)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.sense == "at most" else self.value >= self.target

    def to_json(self) -> dict[str, Any]:
        """All fields, and whether the target is met."""
        rounds = None if self.rounds is None else [_rounded(value) for value in self.rounds]
        return {**asdict(self), "value": _rounded(self.value), "rounds": rounds, "met": self.met}


@dataclass(frozen=True, slots=True)
class Point:
    """Time and peak memory at one size."""

    size: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Curve:
    """How time and memory grow with a size.

    Attributes:
        what: the operation.
        against: name of the size that grows.
        points: at least two, in order of size.
        empty_bytes: memory of a process that has only loaded its libraries; it does not count as growth.
    """

    what: str
    against: str
    points: tuple[Point, ...]
    empty_bytes: int

    @property
    def time_slope(self) -> float:
        """Exponent of the growth of time over all sizes."""
        return slope([(point.size, point.seconds) for point in self.points])

    @property
    def last_time_slope(self) -> float:
        """Exponent of the growth of time between the two largest sizes, where constant costs weigh least."""
        return slope([(point.size, point.seconds) for point in self.points[-2:]])

    @property
    def memory_slope(self) -> float:
        """Exponent of the growth of memory between the two largest sizes."""
        # At least a mebibyte, as less is only allocator noise.
        above = [(point.size, max(point.peak_bytes - self.empty_bytes, 1 << 20)) for point in self.points]
        return slope(above[-2:])

    def to_json(self) -> dict[str, Any]:
        """Points and slopes, for a result file."""
        return {
            "what": self.what,
            "against": self.against,
            "points": [asdict(point) | {"seconds": _rounded(point.seconds)} for point in self.points],
            "empty_bytes": self.empty_bytes,
            "time_slope": _rounded(self.time_slope),
            "last_time_slope": _rounded(self.last_time_slope),
            "memory_slope": _rounded(self.memory_slope),
        }


def quantity(value: float, unit: str) -> str:
    """Format a number for tables: three significant digits; four decimals for metrics."""
    if unit in ("", "slope"):
        return f"{value:.2f}" if unit else f"{value:.4f}"
    digits = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{digits}{unit}" if unit in ("x", "%") else f"{digits} {unit}"


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Exponent b of the power law y = a x^b, fitted by least squares on log axes."""
    xs, ys = ([math.log(value) for value in column] for column in zip(*points, strict=True))
    center_x, center_y = sum(xs) / len(xs), sum(ys) / len(ys)
    covariance = sum((x - center_x) * (y - center_y) for x, y in zip(xs, ys, strict=True))
    return covariance / sum((x - center_x) ** 2 for x in xs)


def _rounded(value: float) -> float:
    """Round to five significant digits, as timings are not more exact."""
    return float(f"{value:.5g}")
