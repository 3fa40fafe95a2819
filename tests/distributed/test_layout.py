"""How the tensors of a model are laid out over processes."""

from __future__ import annotations

import pytest
import torch
from tests.threads import Member, members, together
from torch import Tensor

from mclrec.distributed.layout import WHOLE, ParameterLayout
from mclrec.distributed.shards import Shard

NAMES = ("encoder.items.weight", "item_biases")
TABLE = torch.arange(44.0).reshape(22, 2)


def layout(member: Member) -> ParameterLayout:
    return ParameterLayout(member, Shard(22, member), NAMES)


def test_one_process_holds_all() -> None:
    for found in (WHOLE, ParameterLayout(shard=Shard(22), by_rows=NAMES)):
        assert found.is_whole(NAMES[0])
        assert found.shape(NAMES[0], TABLE) == (22, 2)
        assert found.rows(NAMES[0], 22) == slice(0, 22)
        assert torch.equal(torch.cat(list(found.chunks(NAMES[0], TABLE, 22))), TABLE.flatten())


def test_names_are_found_in_paths_and_nowhere_else() -> None:
    found = layout(members(2)[0])
    whole = [found.is_whole(name) for name in ("model/item_biases", "adam/all/item_biases/step")]
    assert whole == [False, False]
    assert found.is_whole("item_biases_of_another")
    assert found.is_whole("encoder.items")


@pytest.mark.parametrize("size", [2, 3, 25])
def test_rows_of_all_processes_are_the_tensor(size: int) -> None:
    def work(member: Member) -> tuple[slice, tuple[int, ...], tuple[int, ...], list[Tensor]]:
        held = layout(member)
        rows = held.rows(NAMES[0], 22)
        chunks = list(held.chunks(NAMES[0], TABLE[rows], 22))
        steps = held.shape(f"adam/all/{NAMES[0]}/step", torch.tensor(3.0))
        return rows, held.shape(NAMES[0], TABLE[rows]), steps, chunks

    found = together(members(size), work)
    assert torch.equal(torch.cat([TABLE[rows] for rows, *_ in found]), TABLE)
    assert {shape for _, shape, _, _ in found} == {(22, 2)}
    assert {steps for _, _, steps, _ in found} == {()}
    assert torch.equal(torch.cat(found[0][3]), TABLE)
    assert not any(chunks for *_, chunks in found[1:])


def test_gradients_of_rows_are_left_alone_and_others_are_summed() -> None:
    def work(member: Member) -> list[Tensor | None]:
        own = {NAMES[1]: torch.zeros(3), "norm": torch.zeros(2), "unused": torch.zeros(2)}
        own[NAMES[1]].grad = torch.full((3,), 1.0 + member.rank)
        own["norm"].grad = torch.full((2,), 1.0 + member.rank)
        layout(member).all_reduce_gradients(own)
        return [parameter.grad for parameter in own.values()]

    for rank, (rows, common, unused) in enumerate(together(members(3), work)):
        assert rows is not None
        assert common is not None
        assert rows.tolist() == [1.0 + rank] * 3
        assert common.tolist() == [6.0, 6.0]
        assert unused is None
