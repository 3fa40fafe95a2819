from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.augment import Crop, Insert, Mask, Operator, Reorder, Substitute
from mclrec.data.packed import Packed
from mclrec.errors import ConfigError

quick = settings(max_examples=60, deadline=None)
ratios = st.floats(0, 1) | st.sampled_from([0.0, 0.29, 0.3, 0.5, 0.6, 0.7, 0.8, 1.0])
lengths = st.lists(st.integers(0, 30) | st.just(100), max_size=8)
seeds = st.integers(0, 2**32 - 1)


def numbered(sizes: list[int]) -> Packed:
    """Sequences whose items are all distinct, across the batch too."""
    starts = np.cumsum([1, *sizes])
    return Packed.of([np.arange(start, start + size) for start, size in zip(starts, sizes, strict=False)])


def augment(operator: Operator, batch: Packed, seed: int) -> list[tuple[list[int], list[int]]]:
    """Pairs (before, after); asserts that the batch is unchanged and the result reproducible and well formed."""
    before = batch.items.copy()
    result = operator(batch, np.random.default_rng(seed))
    again = operator(batch, np.random.default_rng(seed))
    assert np.array_equal(batch.items, before)
    assert result.tolist() == again.tolist()
    assert result.items.dtype == result.offsets.dtype == np.int64
    assert len(result) == len(batch)
    assert result.offsets[0] == 0
    assert result.offsets[-1] == len(result.items)
    return list(zip(batch.tolist(), result.tolist(), strict=True))


@quick
@given(lengths, ratios, seeds)
def test_crop_is_a_contiguous_part_of_the_right_length(sizes: list[int], ratio: float, seed: int) -> None:
    for before, after in augment(Crop(ratio), numbered(sizes), seed):
        size = len(before)
        assert len(after) == (size if size <= 1 else max(1, math.floor(ratio * size)))
        start = before.index(after[0]) if after else 0
        assert after == before[start : start + len(after)]


@quick
@given(lengths, ratios, seeds)
def test_mask_hides_exactly_its_share(sizes: list[int], ratio: float, seed: int) -> None:
    token = 9999
    for before, after in augment(Mask(ratio, token), numbered(sizes), seed):
        size = len(before)
        assert after.count(token) == (0 if size == 1 else math.floor(ratio * size))
        assert all(new in (old, token) for old, new in zip(before, after, strict=True))


@quick
@given(lengths, ratios, seeds)
def test_reorder_permutes_inside_one_window(sizes: list[int], ratio: float, seed: int) -> None:
    for before, after in augment(Reorder(ratio), numbered(sizes), seed):
        assert sorted(after) == before
        moved = [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        if moved:
            assert moved[-1] - moved[0] < math.floor(ratio * len(before))


@pytest.mark.parametrize("operator", [Crop(0.0), Mask(1.0), Reorder(1.0)])
def test_single_items_are_left_alone(operator: Operator) -> None:
    batch = numbered([1, 0, 1])
    assert augment(operator, batch, 0) == [([1], [1]), ([], []), ([2], [2])]


def test_mask_hides_with_the_padding_id_by_default() -> None:
    (pair,) = augment(Mask(0.5), numbered([6]), 0)
    assert pair[1].count(0) == 3


def same_frequencies(counts: Counter[tuple[int, ...]], kinds: int) -> None:
    """Chi-square test against the uniform distribution, with a bound that fails once in a million."""
    total = counts.total()
    expected = total / kinds
    assert len(counts) == kinds
    statistic = sum((count - expected) ** 2 for count in counts.values()) / expected
    assert statistic < (kinds - 1) + 5 * math.sqrt(2 * (kinds - 1)) + 15


def outcomes(operator: Operator, size: int, times: int = 6000) -> Counter[tuple[int, ...]]:
    batch = Packed.of([np.arange(1, size + 1)] * times)
    return Counter(map(tuple, operator(batch, np.random.default_rng(1)).tolist()))


def test_crop_starts_are_uniform() -> None:
    same_frequencies(outcomes(Crop(0.5), 9), kinds=6)


def test_masked_sets_are_uniform() -> None:
    same_frequencies(outcomes(Mask(0.5), 7), kinds=math.comb(7, 3))


def test_reorder_is_a_uniform_permutation() -> None:
    same_frequencies(outcomes(Reorder(1.0), 4), kinds=math.factorial(4))


def test_reorder_window_starts_are_uniform() -> None:
    # A window of 2 in 5: unchanged half of the time, otherwise swapped at one of 4 equally likely places.
    counts = outcomes(Reorder(0.4), 5, times=12000)
    assert abs(counts.pop((1, 2, 3, 4, 5)) - 6000) < 300
    same_frequencies(counts, kinds=4)


def test_sequences_of_a_batch_draw_on_their_own() -> None:
    pairs = Counter()  # type: Counter[tuple[int, ...]]
    for seed in range(3000):
        result = Crop(0.5)(Packed.of([[1, 2, 3], [4, 5, 6]]), np.random.default_rng(seed))
        pairs[tuple(result.items.tolist())] += 1
    same_frequencies(pairs, kinds=9)


@pytest.mark.parametrize("operator", [Crop, Mask, Reorder])
@pytest.mark.parametrize("ratio", [-0.1, 1.5, math.nan])
def test_a_ratio_is_a_share(operator: type[Crop | Mask | Reorder], ratio: float) -> None:
    with pytest.raises(ConfigError, match=f"{operator.__name__.lower()} ratio is {ratio}"):
        operator(ratio)


def shifted(size: int = 1000) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The most similar item to each is the one 500 after it, which `numbered` never contains."""
    return np.arange(size) + 500


@quick
@given(st.lists(st.integers(0, 30), max_size=8), ratios, seeds)
def test_substitute_replaces_its_share_by_what_is_alike(sizes: list[int], ratio: float, seed: int) -> None:
    for before, after in augment(Substitute(ratio, shifted), numbered(sizes), seed):
        changed = [place for place in range(len(before)) if after[place] != before[place]]
        assert len(changed) == min(max(1, math.floor(ratio * len(before))), len(before))
        assert all(after[place] == before[place] + 500 for place in changed)


@quick
@given(st.lists(st.integers(0, 30), max_size=8), ratios, seeds, st.integers(1, 70))
def test_insert_puts_what_is_alike_before_its_share(
    sizes: list[int], ratio: float, seed: int, max_length: int
) -> None:
    whole = augment(Insert(ratio, shifted, 1000), numbered(sizes), seed)
    for before, after in whole:
        assert [item for item in after if item < 500] == before
        inserted = [place for place, item in enumerate(after) if item >= 500]
        assert len(inserted) == min(max(1, math.floor(ratio * len(before))), len(before))
        assert all(after[place] == after[place + 1] + 500 for place in inserted)
    for (_, after), (_, cut) in zip(
        whole, augment(Insert(ratio, shifted, max_length), numbered(sizes), seed), strict=True
    ):
        assert cut == after[-max_length:]
