"""Random logs in random formats give the same data as a plain reader."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.attack.inputs import Attack
from tests.data.formats_made import Layout, Row, layouts, rows
from tests.data.test_formats import compare

QUICK = settings(
    max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@pytest.mark.attack(share=2)
def test_formats(attack: Attack) -> None:
    for rng in attack.inputs():
        engine = str(np.array(["duckdb", "polars", "pandas"])[rng.integers(3)])
        _compared(int(rng.integers(2**32)), engine)


def _compared(number: int, engine: str) -> None:
    """Compare a few logs, drawn from a seed."""

    @seed(number)
    @QUICK
    @given(rows(), layouts())
    def check(made: list[Row], layout: Layout) -> None:
        compare(made, layout, engine)

    check()
