from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.summary import Curve, Finding, Point, Spread, quantity, slope


@given(
    exponent=st.floats(-3, 3),
    factor=st.floats(1e-3, 1e3),
    sizes=st.lists(st.integers(1, 10**8), min_size=2, max_size=6, unique=True),
)
@settings(max_examples=30, deadline=None)
def test_slope_of_a_power_law_is_its_exponent(exponent: float, factor: float, sizes: list[int]) -> None:
    points = [(float(size), factor * float(size) ** exponent) for size in sizes]
    assert slope(points) == pytest.approx(exponent, abs=1e-6)


def test_slope_is_the_least_squares_line() -> None:
    # log10: (0, 0), (1, 2), (2, 1): mean 1 and 1, covariance 1, variance 2
    assert slope([(1, 1), (10, 100), (100, 10)]) == pytest.approx(0.5)


def test_spread() -> None:
    spread = Spread((4.0, 1.0, 2.0), "s")
    assert spread.median == 2.0
    assert spread.relative == 1.5
    assert spread.to_json() == {
        "unit": "s",
        "values": [4.0, 1.0, 2.0],
        "median": 2.0,
        "lowest": 1.0,
        "highest": 4.0,
    }


@pytest.mark.parametrize(
    ("value", "target", "sense", "met"),
    [
        (0.16, 0.17, "at most", True),
        (0.18, 0.17, "at most", False),
        (16, 15, "at least", True),
        (14, 15, "at least", False),
        (14, None, "at least", None),
    ],
)
def test_targets(value: float, target: float | None, sense: str, met: bool | None) -> None:
    finding = Finding("what", value, "x", target, sense)  # type: ignore[arg-type]
    assert finding.met is met
    assert finding.to_json()["met"] is met


def test_growth_of_memory_is_counted_above_the_idle_process() -> None:
    points = (Point(10, 1.0, 2_000_000_000), Point(100, 5.0, 2_100_000_000), Point(1000, 50.0, 3_100_000_000))
    curve = Curve("work", "size", points, empty_bytes=2_000_000_000)
    assert curve.memory_slope == pytest.approx(1.0414, abs=1e-4)  # 0.1 to 1.1 GB
    assert curve.last_time_slope == pytest.approx(1.0)
    assert curve.time_slope < curve.last_time_slope


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.4153, "x", "0.415x"),
        (1371.2, "s", "1,371 s"),
        (12.34, "min", "12.3 min"),
        (0.12061, "", "0.1206"),
        (1.0, "slope", "1.00"),
        (71.5, "%", "71.5%"),
    ],
)
def test_quantity(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text
