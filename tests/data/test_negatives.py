import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.data.examples import Examples, prefixes, sequences
from mclrec.data.negatives import SharedNegatives, UniformNegatives
from mclrec.data.packed import IntArray, Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import Vocabulary

ITEMS = 12


def make(rows: list[list[int]]) -> SequenceData:
    packed = Packed.of(rows)
    users = Vocabulary(range(len(rows)))
    return SequenceData(packed.items.astype(np.int32), packed.offsets, Vocabulary(range(ITEMS)), users)


def draw(examples: Examples, rows: list[int], per_target: int = 1, seed: int = 0) -> IntArray:
    return UniformNegatives(per_target)(examples, np.array(rows), np.random.default_rng(seed))


@given(
    rows=st.lists(st.lists(st.integers(1, ITEMS), min_size=2, max_size=40), min_size=1, max_size=5),
    per_target=st.integers(1, 3),
    seed=st.integers(0, 99),
    whole=st.booleans(),
)
@settings(max_examples=60)
def test_shape_and_never_one_of_the_users_own(
    rows: list[list[int]], per_target: int, seed: int, whole: bool
) -> None:
    examples = sequences(make(rows), 5) if whole else prefixes(make(rows), 5)
    chosen = np.random.default_rng(seed).permutation(len(examples))[:6]
    drawn = draw(examples, chosen.tolist(), per_target, seed)
    targets = examples.targets(chosen)
    assert drawn.shape == (targets.shape if per_target == 1 else (*targets.shape, per_target))
    spans = examples.at(chosen)
    users = np.repeat(spans.users, spans.lengths if whole else 1)
    assert drawn.min() >= 1
    assert drawn.max() <= ITEMS
    for user, items in zip(users, drawn.reshape(len(targets), -1), strict=True):
        own = set(rows[user])
        assert len(own) == ITEMS or own.isdisjoint(items.tolist())


def test_uniform_over_the_other_items() -> None:
    examples = prefixes(make([[1, 5, 5, 12], [2, 3]]), 50)
    count = 9000
    drawn = draw(examples, [0] * count)
    counts = np.bincount(drawn, minlength=ITEMS + 1)
    assert counts[[0, 1, 5, 12]].tolist() == [0, 0, 0, 0]
    expected = count / (ITEMS - 3)
    chi_square = ((counts[counts > 0] - expected) ** 2 / expected).sum()
    assert (counts > 0).sum() == ITEMS - 3
    assert chi_square < 26.1  # 8 degrees of freedom, p = .001


def test_one_item_left_is_found_and_none_left_ends() -> None:
    examples = prefixes(make([list(range(1, ITEMS)), list(range(1, ITEMS + 1))]), 50)
    assert set(draw(examples, [0] * 20).tolist()) == {ITEMS}
    assert set(draw(examples, [len(examples) - 1] * 20).tolist()) <= set(range(1, ITEMS + 1))


@pytest.mark.parametrize("per_target", [1, 2])
def test_the_generator_decides(per_target: int) -> None:
    examples = sequences(make([[1, 2, 3, 4], [4, 5, 6]]), 50)
    first, again, other = (draw(examples, [0, 1], per_target, seed).tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_other_data_are_indexed_anew() -> None:
    sampler, rng = UniformNegatives(), np.random.default_rng(0)
    for own in (range(1, 7), range(7, 13)):
        examples = prefixes(make([list(own)]), 50)
        assert set(own).isdisjoint(sampler(examples, np.arange(len(examples)).repeat(9), rng).tolist())


def test_shared_negatives_follow_a_power_of_popularity() -> None:
    data = make([[1] * 8 + [2], [3] * 4 + [2]])  # popularity 8, 2, 4, 0, ...
    drawn = SharedNegatives(20_000, 0.5)(prefixes(data, 5), np.arange(2), np.random.default_rng(0))
    weights = np.array([8, 2, 4] + [1] * (ITEMS - 3)) ** 0.5  # counts of zero are raised to one
    shares = np.bincount(drawn, minlength=ITEMS + 1)[1:] / len(drawn)
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.01)


def test_shared_negatives_say_how_often_they_were_to_be_expected() -> None:
    data = make([[1, 1, 1, 1, 2, 3], [1, 2, 5]])
    sampler = SharedNegatives(20_000, 0.5)
    drawn = sampler(prefixes(data, 5), np.arange(2), np.random.default_rng(0))
    items = np.arange(1, ITEMS + 1)
    counts = np.exp(sampler.log_counts(items))
    assert counts.sum() == pytest.approx(20_000)
    np.testing.assert_allclose(np.bincount(drawn, minlength=ITEMS + 1)[1:], counts, rtol=0.1)
