from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mclrec.data.batches import Batch, Histories
from mclrec.data.packed import Packed

SEQUENCES = st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=6)
CPU = torch.device("cpu")


@given(SEQUENCES, st.sampled_from(["left", "right"]))
def test_padded(sequences: list[list[int]], align: Literal["left", "right"]) -> None:
    items, lengths = Histories.of(Packed.of(sequences)).padded(align)
    longest = max((len(row) for row in sequences), default=0)
    zeros = [[0] * (longest - len(row)) for row in sequences]
    rows = [row + z if align == "left" else z + row for row, z in zip(sequences, zeros, strict=True)]
    assert items.shape == (len(sequences), longest)
    assert items.tolist() == rows
    assert lengths.tolist() == [len(row) for row in sequences]


@given(SEQUENCES)
def test_last_items(sequences: list[list[int]]) -> None:
    last = Histories.of(Packed.of(sequences)).last_items()
    assert last.dtype == torch.int64
    assert last.tolist() == [row[-1] if row else 0 for row in sequences]


@given(st.lists(SEQUENCES, min_size=1, max_size=4))
def test_concatenate(parts: list[list[list[int]]]) -> None:
    packed = [Packed.of(part) for part in parts]
    users = [np.arange(len(part)) + 10 * number for number, part in enumerate(parts)]
    joined = Histories.concatenate([Histories.of(p, u) for p, u in zip(packed, users, strict=True)])
    assert Packed(joined.items.numpy(), joined.offsets.numpy()).tolist() == [
        r for part in parts for r in part
    ]
    assert joined.users.tolist() == np.concatenate(users).tolist()


def test_users_are_unknown_unless_given() -> None:
    histories = Histories.of(Packed.of([[1, 2], [], [3]]))
    assert histories.users.tolist() == [0, 0, 0]
    assert len(histories) == 3
    assert histories.lengths.tolist() == [2, 0, 1]


def test_everything_but_offsets_moves_to_the_device() -> None:
    histories = Histories.of(Packed.of([[1, 2], [3]]))
    batch = Batch(histories, torch.tensor([4, 5]), 2.0, (histories, histories), torch.tensor([6, 7]))
    moved = batch.to(torch.device("meta"))
    parts = (moved.histories, *moved.views)
    tensors = [moved.targets, moved.negatives, *(t for part in parts for t in (part.items, part.users))]
    assert {tensor.device.type for tensor in tensors if tensor is not None} == {"meta"}
    assert len(tensors) == 8
    assert {part.offsets.device for part in parts} == {CPU}
    assert (len(moved), moved.count) == (2, 2.0)


def test_nothing_is_copied_where_nothing_moves() -> None:
    histories = Histories.of(Packed.of([[1, 2], [3]]))
    assert histories.to(CPU) is histories
    batch = Batch(histories, torch.tensor([4, 5]), 2.0).to(CPU)
    assert batch.negatives is None
    assert batch.views == ()


def test_a_part_is_the_histories_themselves() -> None:
    whole = Histories.of(Packed.of([[1, 2], [3], [4, 5, 6]]), np.array([7, 8, 9]))
    part = whole.part(1, 3)
    assert part.users.tolist() == [8, 9]
    assert part.items.tolist() == [3, 4, 5, 6]
    assert part.offsets.tolist() == [0, 1, 4]


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=9),
    st.booleans(),
    st.integers(1, 4),
)
def test_parts_in_order_are_the_whole(sequences: list[list[int]], every: bool, count: int) -> None:
    histories = Histories.of(Packed.of(sequences), np.arange(len(sequences)))
    targets = torch.arange(len(histories.items) if every else len(sequences))
    whole = Batch(
        histories, targets, 7.0, (histories,), negatives=targets[:, None] + 5, shared=torch.arange(3)
    )
    bounds = [len(sequences) * number // count for number in range(count + 1)]
    parts = [whole.part(slice(start, stop)) for start, stop in pairwise(bounds)]
    together = Histories.concatenate([part.histories for part in parts])
    for name in ("users", "items", "offsets"):
        assert torch.equal(getattr(together, name), getattr(histories, name))
        viewed = Histories.concatenate([part.views[0] for part in parts])
        assert torch.equal(getattr(viewed, name), getattr(histories, name))
    assert torch.cat([part.targets for part in parts]).tolist() == targets.tolist()
    drawn = torch.cat([part.negatives for part in parts if part.negatives is not None])
    assert drawn.tolist() == (targets[:, None] + 5).tolist()
    assert all(
        (part.count, len(part.shared if part.shared is not None else ())) == (7.0, 3) for part in parts
    )
