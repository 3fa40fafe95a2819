"""Rows sharded over processes: which process owns which row, and lookup from any process."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from tests.threads import Member, members, together
from torch import Tensor

from mclrec.distributed.shards import Shard, lookup, mean_of_items

IDS = [torch.tensor([[3, 0, 3], [21, 7, 1]]), torch.tensor([7, 7, 20]), torch.empty(0, dtype=torch.int64)]
"""Ids that each of three processes looks up among 22 rows."""


def shards(size: int, num_items: int = 20) -> list[Shard]:
    return [Shard(num_items + 2, member) for member in members(size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 25])
@pytest.mark.parametrize("rows", [22, 21])
def test_every_row_is_one_process_s_own(size: int, rows: int) -> None:
    firsts = [shard.first for shard in shards(size)]
    for shard in shards(size):
        counts = shard.counts(rows)
        assert sum(counts) == rows
        assert max(shard.counts(22)) - min(shard.counts(22)) <= 1
        assert counts[shard.processes.rank] == shard.count(rows)
        assert [sum(counts[:rank]) for rank in range(size)] == [min(first, rows) for first in firsts]


@pytest.mark.parametrize("frozen", [None, 0])
@pytest.mark.parametrize("computed", [False, True])  # cosine scores look up computed rows
def test_rows_are_found_and_their_gradients_go_back(frozen: int | None, computed: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(22, 4, dtype=torch.float64, generator=generator).requires_grad_()
    factors = [torch.randn(*ids.shape, 4, dtype=torch.float64, generator=generator) for ids in IDS]
    expected = [F.embedding(ids, whole, padding_idx=frozen) for ids in IDS]
    products = [(e * f).sum() for e, f in zip(expected, factors, strict=True)]
    (torch.stack(products).sum() + (whole * whole).sum()).backward()
    assert whole.grad is not None

    def work(member: Member) -> tuple[Tensor, Tensor]:
        shard, rank = Shard(22, member), member.rank
        own = whole.detach()[shard.first :][: shard.count(22)].clone().requires_grad_()
        found = lookup(own * 1 if computed else own, IDS[rank], shard, frozen)
        ((found * factors[rank]).sum() + (own * own).sum()).backward()  # the weight has another use too
        assert own.grad is not None
        return found.detach(), own.grad

    found = together(members(3), work)
    for (rows, _), all_rows in zip(found, expected, strict=True):
        assert torch.equal(rows, all_rows)
    torch.testing.assert_close(torch.cat([gradient for _, gradient in found]), whole.grad)
    assert torch.equal(whole.grad[0], 2 * whole.detach()[0]) == (frozen == 0)


def test_numbers_are_looked_up_like_rows() -> None:
    whole = torch.arange(21.0)  # the mask id has no bias

    def work(member: Member) -> Tensor:
        shard = Shard(22, member)
        own = whole[shard.first :][: shard.count(21)]
        return lookup(own, torch.tensor([[20, 0], [4, 4]]), shard)

    for found in together(members(4), work):
        assert found.tolist() == [[20, 0], [4, 4]]


@pytest.mark.parametrize("size", [1, 3, 25])
@pytest.mark.parametrize("width", [(), (4,)])
def test_the_mean_of_items_is_everybodys_and_so_is_its_gradient(width: tuple[int, ...], size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(22, *width, dtype=torch.float64, generator=generator).requires_grad_()
    factors = torch.randn(size, *width, dtype=torch.float64, generator=generator)
    expected = whole[1:21].mean(0)
    (expected * factors).sum().backward()
    assert whole.grad is not None

    def work(member: Member) -> tuple[Tensor, Tensor]:
        shard = Shard(22, member)
        own = whole.detach()[shard.first :][: shard.count(22)].clone().requires_grad_()
        found = mean_of_items(own, 20, shard)
        (found * factors[member.rank]).sum().backward()
        assert own.grad is not None
        return found.detach(), own.grad

    found = together(members(size), work)
    for mean, _ in found:
        torch.testing.assert_close(mean, expected.detach())
    torch.testing.assert_close(torch.cat([gradient for _, gradient in found]), whole.grad)


def test_what_travels_is_distinct_rows_of_others_and_their_gradients() -> None:
    hidden_size = 4
    travelled = [0] * 3

    class Counting(Member):
        def all_to_all(
            self, rows: Tensor, sent: Sequence[int], received: Sequence[int] | None = None
        ) -> tuple[Tensor, Sequence[int]]:
            if rows.is_floating_point():
                travelled[self.rank] += rows.nbytes - sent[self.rank] * hidden_size * rows.itemsize
            return super().all_to_all(rows, sent, received)

    def work(member: Member) -> int:
        shard = Shard(22, member)
        own = torch.zeros(shard.count(22), hidden_size, requires_grad=True)
        lookup(own, IDS[member.rank], shard).sum().backward()
        wanted = set(IDS[member.rank].flatten().tolist())
        return len(wanted - set(range(shard.first, shard.first + shard.count(22))))

    others = together(
        [Counting(member.rank, 3, member._barrier, member._said) for member in members(3)], work
    )
    assert sum(travelled) == 2 * 4 * hidden_size * sum(others)
