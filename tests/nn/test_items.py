"""Item vectors, whole and sharded by rows."""

from __future__ import annotations

import pytest
import torch
from tests.threads import members
from torch import nn

from mclrec.distributed.shards import sharded
from mclrec.nn import items
from mclrec.nn.items import ItemEmbedding


@pytest.mark.parametrize(("num_items", "hidden_size"), [(1, 2), (37, 8), (301, 7), (1000, 64)])
@pytest.mark.parametrize("drawn", [1, 1 << 10, 1 << 22])
def test_first_vectors_are_those_of_torch_however_they_are_sharded(
    num_items: int, hidden_size: int, drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "_DRAWN", drawn)
    torch.manual_seed(3)
    expected = nn.Embedding(num_items + 2, hidden_size)
    first = expected.weight.detach().clone()
    nn.init.normal_(expected.weight, std=0.02)
    after = torch.rand(1)
    for size in (1, 2, 3):
        firsts, seconds = [], []
        for member in members(size):
            torch.manual_seed(3)
            with sharded(member):
                made = ItemEmbedding(num_items, hidden_size)
            firsts.append(made.weight.detach().clone())
            made.draw(0.02)
            seconds.append(made.weight.detach())
            assert torch.equal(torch.rand(1), after)
        assert torch.equal(torch.cat(firsts), first)
        assert torch.equal(torch.cat(seconds), expected.weight)
    assert ItemEmbedding(3, 2).shard.whole
