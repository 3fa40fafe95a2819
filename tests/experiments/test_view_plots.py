from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.helpers import tiny_data, write_log

from mclrec.errors import ConfigError
from mclrec.experiments.planned_runs import PlannedRun, RunStore, do_runs
from mclrec.experiments.results_table import PlannedRow
from mclrec.experiments.view_plots import alignment, uniformity, view_plots_of

VECTORS = arrays(np.float64, (5, 3), elements=st.floats(-1, 1).map(lambda value: round(value, 3) + 0.0005))


@given(one=VECTORS, other=VECTORS)
def test_alignment_and_uniformity_are_their_definitions(one: np.ndarray, other: np.ndarray) -> None:
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, other))
    assert alignment(one, other) == pytest.approx(
        sum(sum((x - y) ** 2) for x, y in zip(a, b, strict=True)) / 5
    )
    terms = [np.exp(-2 * sum((a[i] - a[j]) ** 2)) for i in range(5) for j in range(i)]
    assert uniformity(one) == pytest.approx(np.log(sum(terms) / len(terms)), abs=1e-9)


def test_collapsed_vectors_are_aligned_and_not_uniform() -> None:
    same = np.ones((4, 3))
    assert alignment(same, 2 * same) == pytest.approx(0)
    assert uniformity(same) == pytest.approx(0)
    assert uniformity(np.eye(4)) == pytest.approx(-4)


def _cells(tmp_path: Path, **settings: float) -> tuple[RunStore, PlannedRow]:
    log = write_log(tmp_path / "tiny.csv", tiny_data(users=20, shortest=5))
    planned = PlannedRun(
        str(log), "mclrec", settings={"epochs": 1, "hidden_size": 8, "max_length": 5, **settings}
    )
    store = RunStore(tmp_path / "cells")
    assert do_runs(store, [planned])
    return store, PlannedRow(str(log), "row", [planned])


def test_a_view_plot_has_both_views_of_each_history_and_is_reproducible(tmp_path: Path) -> None:
    store, entry = _cells(tmp_path)
    [plot] = view_plots_of(store, [entry], ("z1", "z2"))
    assert len(plot.one) == len(plot.other) == 20
    assert 0 <= plot.alignment <= 4
    assert plot.uniformity < 0
    assert plot.epoch == 1
    assert view_plots_of(store, [entry], ("z1", "z2")) == [plot]
    [of_data] = view_plots_of(store, [entry], ("h1", "h2"))
    assert of_data.alignment != plot.alignment


def test_a_model_without_contrast_has_no_views(tmp_path: Path) -> None:
    store, entry = _cells(tmp_path, **{"lambda": 0.0, "beta": 0.0})
    with pytest.raises(ConfigError, match="trained with a contrastive loss"):
        view_plots_of(store, [entry], ("h1", "h2"))
