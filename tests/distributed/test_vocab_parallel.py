"""Vocab-parallel cross-entropy against cross-entropy in a single process."""

from __future__ import annotations

import subprocess

import pytest
import torch
import torch.nn.functional as F
from tests.distributed.several import start
from tests.threads import Member, members, together
from torch import Tensor

from mclrec.distributed.vocab_parallel import vocab_parallel_cross_entropy
from mclrec.losses.additions import Additions
from mclrec.losses.softmax import chunked_linear_cross_entropy

CLASSES, WIDTH = 11, 3
TARGETS = torch.tensor([0, 10, 3, 3, 7, 1, 0])
QUERIES = [(0, 4), (4, 4), (4, 7)]
"""Range of the seven queries on each of three processes; the second has none."""
ROWS = [(0, 4), (4, 8), (8, 12)]
"""Range of the twelve rows on each process; the last row is not a class."""


def inputs(with_bias: bool, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(TARGETS), WIDTH), (CLASSES + 1, WIDTH), (CLASSES,)][: 2 + with_bias]
    made = [torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes]
    return [(tensor * (scale if number == 0 else 1)).requires_grad_() for number, tensor in enumerate(made)]


def by_parts(
    whole: list[Tensor], chunk: int | None, factor: float = 1.0, additions: Additions | None = None
) -> tuple[Tensor, list[Tensor]]:
    """The loss summed over processes, and the concatenated gradients, with that of the additions last."""

    def work(member: Member) -> tuple[Tensor, ...]:
        (start, stop), (first, last) = QUERIES[member.rank], ROWS[member.rank]
        parts = [
            tensor.detach()[begin:end].clone().requires_grad_()
            for tensor, (begin, end) in zip(
                whole, ((start, stop), (first, last), (first, last)), strict=False
            )
        ]
        queries, weight, *bias = parts
        own = None if additions is None else _of_queries(additions, start, stop)
        loss = vocab_parallel_cross_entropy(
            queries,
            weight,
            bias[0] if bias else None,
            TARGETS[start:stop],
            first=first,
            classes=min(last, CLASSES) - first,
            processes=member,
            chunk=chunk,
            additions=own,
        )
        wanted = parts if own is None else [*parts, own.values]
        return loss.detach(), *torch.autograd.grad(factor * loss, wanted)

    found = together(members(3), work)
    gradients = [torch.cat(list(parts)) for parts in zip(*(rest for _, *rest in found), strict=True)]
    return torch.stack([loss for loss, *_ in found]).sum(), gradients


def _of_queries(additions: Additions, start: int, stop: int) -> Additions:
    here = (additions.rows >= start) & (additions.rows < stop)
    values = additions.values.detach()[here].clone().requires_grad_()
    return with_bounds(additions.rows[here] - start, additions.items[here], values, stop - start)


def with_bounds(rows: Tensor, items: Tensor, values: Tensor, queries: int) -> Additions:
    return Additions(torch.searchsorted(rows, torch.arange(queries + 1)), rows, items, values)


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("chunk", [1, 3, None])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 200.0])
def test_adds_to_scores_as_in_one_place(scale: float, chunk: int | None, count: int) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(len(TARGETS), (count,), generator=generator).sort().values
    items = torch.randint(CLASSES, (count,), generator=generator)
    values = torch.randn(count, dtype=torch.float64, generator=generator).mul_(scale).requires_grad_()
    queries, weight, bias = whole = inputs(with_bias=True)
    loss, gradients = by_parts(whole, chunk, 0.5, with_bounds(rows, items, values, len(TARGETS)))
    logits = F.linear(queries, weight[:CLASSES], bias).index_put((rows, items), values, accumulate=True)
    expected = F.cross_entropy(logits, TARGETS, reduction="sum")
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradients, list(torch.autograd.grad(0.5 * expected, [*whole, values])))


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, None])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 200.0])
def test_equals_cross_entropy(scale: float, chunk: int | None, with_bias: bool) -> None:
    queries, weight, *bias = whole = inputs(with_bias, scale)
    loss, gradients = by_parts(whole, chunk, 0.5)
    logits = F.linear(queries, weight[:CLASSES], bias[0] if bias else None)
    expected = F.cross_entropy(logits, TARGETS, reduction="sum")
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradients, list(torch.autograd.grad(0.5 * expected, whole)))


def test_a_number_that_is_none_is_not_hidden() -> None:
    for broken in (0, 1):
        whole = inputs(with_bias=False)
        with torch.no_grad():
            whole[broken][5] = torch.nan
        assert by_parts(whole, None)[0].isnan()


def test_autocast_narrows_the_products_and_neither_loss_nor_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, weight = (torch.randn(rows, 16, generator=generator).requires_grad_() for rows in (40, 300))
    targets = torch.randint(300, (40,), generator=generator)
    exact = torch.autograd.grad(
        chunked_linear_cross_entropy(queries, weight, None, targets), (queries, weight)
    )

    def work(member: Member) -> tuple[Tensor, ...]:
        own, rows = (
            slice(20 * member.rank, 20 * (member.rank + 1)),
            slice(150 * member.rank, 150 * (member.rank + 1)),
        )
        parts = [queries.detach()[own].requires_grad_(), weight.detach()[rows].requires_grad_()]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = vocab_parallel_cross_entropy(
                parts[0],
                parts[1],
                None,
                targets[own],
                first=rows.start,
                classes=150,
                processes=member,
                chunk=64,
            )
        assert loss.dtype == torch.float32
        return torch.autograd.grad(loss, parts)

    found = together(members(2), work)
    for one, other in zip((torch.cat(parts) for parts in zip(*found, strict=True)), exact, strict=True):
        assert one.dtype == torch.float32
        assert 0 < (one - other).norm() < 0.01 * other.norm()


def test_a_second_backward_pass_is_refused() -> None:
    def work(member: Member) -> None:
        queries, weight = (torch.ones(2, 3, requires_grad=True) for _ in range(2))
        loss = vocab_parallel_cross_entropy(
            queries, weight, None, torch.tensor([0, 3]), first=2 * member.rank, classes=2, processes=member
        )
        loss.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="once"):
            loss.backward()

    together(members(2), work)


@pytest.mark.slow
def test_two_processes_come_to_what_torch_s_own_loss_over_sharded_classes_does() -> None:
    processes = start(["-m", "tests.distributed.oracle"], 2, stderr=subprocess.PIPE)
    told = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], [text[-800:] for text in told]
