"""The newest items of packed histories, against slices of lists."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mclrec.data.batches import Histories
from mclrec.data.packed import Packed


@given(st.lists(st.lists(st.integers(1, 9), max_size=8), max_size=6), st.integers(1, 9))
def test_newest(lists: list[list[int]], count: int) -> None:
    users = np.arange(len(lists))
    found = Histories.of(Packed.of(lists), users).newest(count)
    parts = [found.part(row, row + 1).items.tolist() for row in range(len(lists))]
    assert parts == [history[-count:] for history in lists]
    assert found.users.tolist() == users.tolist()
