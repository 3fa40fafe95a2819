import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mclrec.data.packed import Packed, ranges

SEQUENCES = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=8)


@given(SEQUENCES)
def test_holds_what_was_packed(sequences: list[list[int]]) -> None:
    packed = Packed.of(sequences)
    assert packed.tolist() == sequences
    assert len(packed) == len(sequences)
    assert packed.items.dtype == packed.offsets.dtype == np.int64
    assert packed.lengths.tolist() == [len(row) for row in sequences]
    assert packed.rows.tolist() == [number for number, row in enumerate(sequences) for _ in row]
    assert packed.positions.tolist() == [place for row in sequences for place in range(len(row))]


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 7)), max_size=9))
def test_ranges_are_concatenated(pairs: list[tuple[int, int]]) -> None:
    starts, lengths = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    expected = [place for start, length in pairs for place in range(start, start + length)]
    assert ranges(starts, lengths).tolist() == expected


@given(SEQUENCES.filter(bool), st.lists(st.integers(0, 7), max_size=9), st.none() | st.integers(0, 7))
def test_takes_sequences(sequences: list[list[int]], rows: list[int], max_length: int | None) -> None:
    chosen = np.array(rows, dtype=np.int64) % len(sequences)
    taken = Packed.of(sequences).take(chosen, max_length)
    keep = [
        len(sequences[row]) if max_length is None else min(len(sequences[row]), max_length) for row in chosen
    ]
    assert taken.tolist() == [
        sequences[row][len(sequences[row]) - kept :] for row, kept in zip(chosen, keep, strict=True)
    ]
