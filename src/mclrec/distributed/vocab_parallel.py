"""Softmax cross-entropy over a catalogue whose rows are sharded among processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mclrec.distributed.processes import Processes
from mclrec.losses.additions import Additions
from mclrec.losses.softmax import LOG2_E, SAFE, highest_score

__all__ = ["gather_additions", "vocab_parallel_cross_entropy"]

_SCORES = 1 << 23
"""Maximum number of scores held at a time: 32 MB in fp32."""


def vocab_parallel_cross_entropy(
    queries: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    first: int,
    classes: int,
    processes: Processes,
    chunk: int | None = None,
    additions: Additions | None = None,
) -> Tensor:
    """Softmax cross-entropy, summed over queries, where each process has some of the queries and of the classes.

    Summed over processes, it equals `mclrec.losses.softmax.chunked_linear_cross_entropy` of all queries and classes.

    Each process scores the queries of all processes against its own classes, ``chunk`` classes at a time. The processes
    exchange (B, d) queries, their gradients, and a few numbers per query. Gradients of classes stay with their process
    and are complete. They are computed in the forward pass: all processes must therefore use the result in the same
    way, with the same upstream gradient.

    Args:
        queries: (b, d) queries of this process, out of B in all.
        weight: (classes or more, d) rows of this process.
        bias: (classes or more,) or None.
        targets: (b,) int64 classes of its queries, held by any process.
        first: index of its first class.
        classes: number of its classes; further rows are ignored.
        processes: the processes.
        chunk: number of classes at a time; None to choose it by memory.
        additions: additions to the scores of its queries with some classes, held by any process.

    Returns:
        Scalar: the sum over this process's queries.
    """
    device = queries.device.type
    full = torch.promote_types(queries.dtype, torch.float32)
    narrow = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else full
    with torch.autocast(device, enabled=False):
        total: Tensor = _VocabParallelCrossEntropy.apply(  # type: ignore[no-untyped-call]
            queries.to(full),
            weight.to(full),
            None if bias is None else bias.to(full),
            targets,
            None if additions is None else additions.values.to(full),
            additions,
            (first, classes, chunk),
            narrow,
            processes,
        )
    return total


def gather_additions(additions: Additions, start: int, processes: Processes) -> Additions:
    """Gather the additions to the scores of all processes' queries, where those of this process begin at ``start``."""
    if processes.size == 1:
        return additions
    rows, places = processes.all_gather(additions.rows + start)
    items, _ = processes.all_gather(additions.items)
    values, _ = processes.all_gather(additions.values.detach())
    lengths, _ = processes.all_gather(additions.offsets.diff().to(rows.device))
    return Additions(F.pad(lengths.cpu().cumsum(0), (1, 0)), rows, items, values, places)


class _VocabParallelCrossEntropy(torch.autograd.Function):
    """With e = exp(y) and s the sum of e over all classes, d loss / d y = e / s - 1[target].

    The sums are known only after all processes have scored all their classes, so the scores are computed twice, unless
    they fit into one chunk.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        added: Tensor | None,
        additions: Additions | None,
        place: tuple[int, int, int | None],
        narrow: torch.dtype,
        processes: Processes,
    ) -> Tensor:
        first, count, chunk = place
        (everyone, own), (labels, _) = processes.all_gather(queries), processes.all_gather(targets)
        chunk = chunk or max(1, _SCORES // max(len(everyone), 1))
        together, here = None, None
        if additions is not None:
            together = gather_additions(additions, own.start, processes)
            here = together.of_items(first, first + count)
        classes = (weight[:count], None if bias is None else bias[:count])
        scores = _Exponentials(everyone, *classes, here, chunk, narrow, processes)
        rows = ((labels >= first) & (labels < first + count)).nonzero().squeeze(1)
        targeted = (rows, labels[rows] - first)
        picked, sums = everyone.new_zeros(2, len(everyone))
        picked[rows] = _pair_scores(everyone, weight, bias, *targeted)
        if here is not None:
            own_targets = here.items + first == labels[here.rows]
            picked.index_add_(0, here.rows, here.values * own_targets)
        for _, _, exponentials in scores:
            sums += exponentials.sum(1)
        processes.all_reduce_sum(picked)
        processes.all_reduce_sum(sums)
        ctx.gradients = gradients = [
            torch.zeros_like(tensor) if tensor is not None and needed else None
            for tensor, needed in zip((everyone, weight, bias), ctx.needs_input_grad, strict=False)
        ]
        _differentiate(gradients, scores, sums, (everyone, weight), targeted)
        if gradients[0] is not None:
            gradients[0] = processes.all_reduce_sum(gradients[0])[own].clone()
        wanted = None if added is None or not ctx.needs_input_grad[4] else together
        gradients += [None, _gradient_of_additions(wanted, here, scores, sums, labels - first, processes)]
        losses: Tensor = (sums.log2() + scores.shift) / LOG2_E - picked
        return losses[own].sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("vocab_parallel_cross_entropy can be differentiated only once")
        scaled = (None if gradient is None else gradient.mul_(upstream) for gradient in ctx.gradients)
        ctx.gradients = None
        return *scaled, None, None, None, None


class _Exponentials:
    """exp2(scores - `shift`) of (B, C) scores in base 2, in chunks of classes; cached if there is only one chunk.

    `shift`, the highest score of each query, is 0 if the norms of queries and classes rule out an overflow.
    """

    def __init__(
        self,
        queries: Tensor,
        classes: Tensor,
        bias: Tensor | None,
        additions: Additions | None,
        chunk: int,
        narrow: torch.dtype,
        processes: Processes,
    ) -> None:
        self._queries, self._classes, self._bias = (queries * LOG2_E).to(narrow), classes, bias
        self._additions = additions
        self._narrow, self._chunk = narrow, chunk
        self._kept: tuple[slice, Tensor, Tensor] | None = None
        self.shift = queries.new_zeros(len(queries))
        # All processes must reach the same decision, so NaN, whose maximum is undefined, counts as infinite.
        highest = highest_score(queries, classes, bias) + (
            0.0 if additions is None else float(additions.most())
        )
        bound = queries.new_tensor(highest).nan_to_num(torch.inf, torch.inf)
        self._shifted = not processes.all_reduce_max(bound) <= SAFE
        if self._shifted:
            tops = queries.new_full((len(queries),), -torch.inf)
            for _, _, scores in self._chunks():
                tops = torch.maximum(tops, scores.amax(1).to(tops.dtype))
            self.shift = processes.all_reduce_max(tops)

    def __iter__(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield slices of classes, their vectors (C, d) and exponentials (B, C)."""
        if self._kept is not None:
            yield self._kept
            return
        for columns, classes, scores in self._chunks():
            if self._shifted:
                scores -= self.shift.unsqueeze(1)
            found = (columns, classes, scores.exp2_())
            if len(classes) == len(self._classes):
                self._kept = found
            yield found

    def _chunks(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        for start in range(0, len(self._classes), self._chunk):
            columns = slice(start, min(start + self._chunk, len(self._classes)))
            classes = self._classes[columns].to(self._narrow)
            scores = self._queries @ classes.T
            if self._bias is not None:
                scores += self._bias[columns] * LOG2_E
            if self._additions is not None:
                self._additions.of_items(columns.start, columns.stop).add_to(scores, LOG2_E)
            yield columns, classes, scores


def _pair_scores(
    queries: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor, places: Tensor
) -> Tensor:
    """Scores of pairs: the queries at ``rows`` with the classes at ``places``."""
    scores = (queries[rows] * weight[places]).sum(1)
    return scores if bias is None else scores + bias[places]


def _gradient_of_additions(
    together: Additions | None,
    here: Additions | None,
    scores: _Exponentials,
    sums: Tensor,
    places: Tensor,
    processes: Processes,
) -> Tensor | None:
    """Gradient of this process's additions; each process computes it for the classes that it holds.

    Args:
        together: additions of all processes, to all classes; None if the gradient is not needed.
        here: those of them that belong to this process's classes.
        scores: exponentials of these classes.
        sums: sum of the exponentials over all classes, for each query.
        places: positions of the targets relative to these classes.
        processes: the processes.
    """
    if together is None or here is None:
        return None
    gradient, of_here = torch.zeros_like(together.values), torch.zeros_like(here.values)
    for columns, _, exponentials in scores:
        part = here.of_items(columns.start, columns.stop)
        of_here[part.places] = exponentials[part.rows, part.items].to(sums.dtype) / sums[part.rows]
    gradient[here.places] = of_here.sub_((here.items == places[here.rows]).to(of_here.dtype))
    return processes.all_reduce_sum(gradient)[together.places].clone()


def _multiply(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Compute ``out = left @ right``, without a copy if their types are equal."""
    if out.dtype == left.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left @ right)


def _differentiate(
    gradients: list[Tensor | None],
    scores: _Exponentials,
    sums: Tensor,
    factors: tuple[Tensor, Tensor],
    targeted: tuple[Tensor, Tensor],
) -> None:
    """Fill the ``gradients`` of queries, classes and biases that are not None with the part due to these classes."""
    grad_queries, grad_weight, grad_bias = gradients
    (queries, weight), (rows, places) = factors, targeted
    shares = queries / sums.unsqueeze(1)
    for columns, classes, exponentials in scores if any(part is not None for part in gradients) else ():
        if grad_queries is not None:
            grad_queries += exponentials @ classes
        if grad_weight is not None:
            _multiply(exponentials.T, shares.to(exponentials.dtype), grad_weight[columns])
        if grad_bias is not None:
            grad_bias[columns] = (1 / sums).to(exponentials.dtype) @ exponentials
    if grad_queries is not None:
        grad_queries.div_(sums.unsqueeze(1)).index_add_(0, rows, weight[places], alpha=-1)
    if grad_weight is not None:
        grad_weight.index_add_(0, places, queries[rows], alpha=-1)
    if grad_bias is not None:
        grad_bias.index_add_(0, places, grad_bias.new_ones(len(places)), alpha=-1)
