import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import tiny_data

from mclrec.data.split import leave_one_out
from mclrec.errors import ConfigError
from mclrec.experiments.noise import with_noise

DATA = tiny_data(users=30, items=40, shortest=2)
SPLIT = leave_one_out(DATA)


@given(st.integers(0, 99), st.floats(0, 1))
def test_histories_get_items_that_the_user_never_had(seed: int, share: float) -> None:
    noisy = with_noise(SPLIT, share, np.random.default_rng(seed))
    assert noisy.training is SPLIT.training
    assert noisy.validation is SPLIT.validation
    assert noisy.test.items.tolist() == SPLIT.test.items.tolist()
    assert noisy.test.users.tolist() == SPLIT.test.users.tolist()
    rows = np.arange(len(SPLIT.test))
    before, after = SPLIT.test.histories(rows).tolist(), noisy.test.histories(rows).tolist()
    for user, old, new in zip(SPLIT.test.users.tolist(), before, after, strict=True):
        own = set(DATA.sequence(user).tolist())
        foreign = [item for item in new if item not in own]
        assert len(foreign) == int(np.floor(share * len(old)))
        assert [item for item in new if item in own] == old
        assert new[-1] == old[-1]  # noise is inserted before items


def test_noise_depends_on_the_seed_alone() -> None:
    first, again, other = (
        with_noise(SPLIT, 0.5, np.random.default_rng(seed)).test.data for seed in (1, 1, 2)
    )
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_a_share_is_between_0_and_1() -> None:
    with pytest.raises(ConfigError, match="from 0 to 1"):
        with_noise(SPLIT, 1.5, np.random.default_rng(0))
