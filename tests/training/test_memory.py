"""Training memory grows with users and items, not with interactions, which stay in memory-mapped files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import Vocabulary

ROOT = Path(__file__).parents[2]
USERS, LENGTH, ITEMS = 80_000, 300, 500
ALLOWED = 60 << 20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits private memory alone on Linux only")
def test_data_larger_than_the_memory_that_is_allowed(tmp_path: Path) -> None:
    count = USERS * LENGTH
    data = SequenceData(
        items=np.resize(np.arange(1, ITEMS + 1, dtype=np.int32), count),
        offsets=np.arange(0, count + 1, LENGTH),
        item_ids=Vocabulary(np.arange(ITEMS)),
        user_ids=Vocabulary(np.arange(USERS)),
        name="large",
    )
    assert data.items.nbytes > 1.4 * ALLOWED
    data.save(tmp_path / "data")
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.limited", str(tmp_path / "data"), str(ALLOWED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {"interactions": count}
