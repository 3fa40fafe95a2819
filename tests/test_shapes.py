from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mclrec.shapes import round_up


@given(count=st.integers(1, 10**7), step=st.sampled_from([4, 16]))
def test_rounding_up_wastes_little_and_gives_few_shapes(count: int, step: int) -> None:
    rounded = round_up(count, step)
    assert count <= rounded < count + max(step, count / 8)
    assert round_up(rounded, step) == rounded
    assert len({round_up(other, step) for other in range(4096, 8192)}) <= 17
