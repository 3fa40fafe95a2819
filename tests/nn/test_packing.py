"""One row per history, made of the states of all its items."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from mclrec.nn.packing import flatten_newest, states_in_parts

LENGTHS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=9)


@given(LENGTHS)
def test_parts_hold_all_states_of_each_history_and_hardly_any_zeros(lengths: list[tuple[int, int]]) -> None:
    views = [
        random_view(torch.tensor(of_view), seed) for seed, of_view in enumerate(zip(*lengths, strict=True))
    ]
    parts = states_in_parts(views)
    rows = [part.shape[1] for part in parts]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] == len(lengths)
    whole = torch.cat([functional.pad(part, (0, 0, 0, rows[0] - part.shape[1])) for part in parts], 2)
    order = torch.tensor(lengths).amax(1).argsort(descending=True, stable=True)
    expected = [flatten_newest(states, offsets, 40)[order] for states, offsets in views]
    for rows_of, flat in zip(whole, expected, strict=True):
        # The same states, the newest first instead of last.
        newest_first = flat.view(len(lengths), 40, 2).flip(1).flatten(1)
        width = rows_of.shape[1]
        torch.testing.assert_close(rows_of, newest_first[:, :width])
        assert not newest_first[:, width:].any()
    # A part is at most as wide as all parts before it together; the first has at most four places.
    filled = sum(max(pair) for pair in lengths)
    assert sum(part.shape[1] * part.shape[2] // 2 for part in parts) <= 2 * filled + 4 * len(lengths)


@given(LENGTHS)
def test_gradients_of_parts_are_those_of_whole_rows(lengths: list[tuple[int, int]]) -> None:
    views = [
        random_view(torch.tensor(of_view), seed) for seed, of_view in enumerate(zip(*lengths, strict=True))
    ]
    states = [of_view for of_view, _ in views]
    in_parts = torch.stack([part.sin().square().sum() for part in states_in_parts(views)]).sum()
    whole = torch.stack([flatten_newest(*view, 40).sin().square().sum() for view in views]).sum()
    gradients = [torch.autograd.grad(total, states) for total in (in_parts, whole)]
    torch.testing.assert_close(*gradients)


def random_view(lengths: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Packed states of histories of these lengths, and their offsets."""
    states = torch.randn(
        int(lengths.sum()), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return states.requires_grad_(), functional.pad(lengths.cumsum(0), (1, 0))
