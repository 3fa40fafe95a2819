from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.helpers import tiny_data, write_log

from mclrec.errors import ConfigError
from mclrec.experiments.cells import Cell, Cells
from mclrec.experiments.cloud import alignment, clouds_of, uniformity
from mclrec.experiments.frame import Entry
from mclrec.experiments.worker import do_cells

VECTORS = arrays(np.float64, (5, 3), elements=st.floats(-1, 1).map(lambda value: round(value, 3) + 0.0005))


@given(one=VECTORS, other=VECTORS)
def test_alignment_and_uniformity_are_their_definitions(one: np.ndarray, other: np.ndarray) -> None:
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, other))
    assert alignment(one, other) == pytest.approx(
        sum(sum((x - y) ** 2) for x, y in zip(a, b, strict=True)) / 5
    )
    terms = [np.exp(-2 * sum((a[i] - a[j]) ** 2)) for i in range(5) for j in range(i)]
    assert uniformity(one) == pytest.approx(np.log(sum(terms) / len(terms)), abs=1e-9)


def test_what_has_collapsed_is_aligned_and_not_uniform() -> None:
    same = np.ones((4, 3))
    assert alignment(same, 2 * same) == pytest.approx(0)
    assert uniformity(same) == pytest.approx(0)
    assert uniformity(np.eye(4)) == pytest.approx(-4)


def _cells(tmp_path: Path, **settings: float) -> tuple[Cells, Entry]:
    log = write_log(tmp_path / "tiny.csv", tiny_data(users=20, shortest=5))
    cell = Cell(str(log), "mclrec", settings={"epochs": 1, "hidden_size": 8, "max_length": 5, **settings})
    cells = Cells(tmp_path / "cells")
    assert do_cells(cells, [cell])
    return cells, Entry(str(log), "row", [cell])


def test_a_cloud_has_both_views_of_each_history_and_is_the_same_again(tmp_path: Path) -> None:
    cells, entry = _cells(tmp_path)
    [cloud] = clouds_of(cells, [entry], ("z1", "z2"))
    assert len(cloud.one) == len(cloud.other) == 20
    assert 0 <= cloud.alignment <= 4
    assert cloud.uniformity < 0
    assert cloud.epoch == 1
    assert clouds_of(cells, [entry], ("z1", "z2")) == [cloud]
    [of_data] = clouds_of(cells, [entry], ("h1", "h2"))
    assert of_data.alignment != cloud.alignment


def test_a_model_without_contrast_has_no_views(tmp_path: Path) -> None:
    cells, entry = _cells(tmp_path, **{"lambda": 0.0, "beta": 0.0})
    with pytest.raises(ConfigError, match="with a contrast alone"):
        clouds_of(cells, [entry], ("h1", "h2"))
