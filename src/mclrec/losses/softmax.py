"""Softmax cross-entropy over a catalogue too large for a (B, V) tensor."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mclrec.shapes import round_up

__all__ = ["LOG2_E", "SAFE", "chunked_linear_cross_entropy", "highest_score"]

_SCORES = 1 << 25
"""Most scores held at a time: 128 MB in fp32."""

_ROWS = 256
"""Most queries per chunk on a CPU: for the paper's catalogues, their scores then stay in the processor's cache."""

SAFE = 50.0
"""Scores up to this can be exponentiated without a shift: neither exponentials nor their sum leave fp32's range."""

LOG2_E = math.log2(math.e)
"""Factor that converts natural logarithms to base 2."""


def chunked_linear_cross_entropy(
    queries: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    classes: int | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Sum of ``-y[g] + log sum_i exp(y[i])``, ``y = weight @ query + bias`` (paper, eq. 3, y-hat as logits).

    Processes the queries ``chunk`` rows at a time and computes the gradients along the way, so that neither the
    forward nor the backward pass holds more than (chunk, V) scores. The result can be differentiated once.

    Inside an autocast region, scores and everything computed from them have the region's precision, while gradients
    and the loss have fp32. Elsewhere everything is computed in fp32 at least.

    Args:
        queries: (B, d).
        weight: (V or more, d) one row per class.
        bias: (V or more,) or None.
        targets: (B,) int64 in 0..V-1.
        classes: V, if further rows are not classes.
        chunk: rows at a time; None for as many as cache and memory suggest.

    Returns:
        Scalar: the sum over rows; the caller divides by its number of targets.
    """
    device = queries.device.type
    full = torch.promote_types(queries.dtype, torch.float32)
    narrow = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else full
    classes = len(weight) if classes is None else classes
    chunk = (
        _rows_at_once(len(queries), classes, _ROWS if device == "cpu" else None) if chunk is None else chunk
    )
    with torch.autocast(device, enabled=False):
        total: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
            queries.to(full),
            weight.to(full),
            None if bias is None else bias.to(full),
            targets,
            classes,
            chunk,
            narrow,
        )
    return total


def _rows_at_once(count: int, classes: int, rows: int | None) -> int:
    """Rows per chunk, at most ``rows``: equal for all chunks, and one of few sizes (see `mclrec.shapes`)."""
    most = max(1, min(rows or count, _SCORES // classes))
    chunks = -(-count // most)
    return max(1, min(most, round_up(-(-count // max(chunks, 1)), 16)))


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Computes gradients in the forward pass: as the loss is a scalar, the backward pass only has to scale them.

    With e = exp(y) of a chunk and s = sum e, d loss / d y = e / s - 1[target]. The division is applied to the
    (chunk, d) sides of the products, and the targets are subtracted as a sum of few rows: e is written once and read
    three times. Scores are computed to base 2, in which a processor exponentiates faster, and the maximum of a row is
    subtracted only if the norms of queries and classes do not rule out an overflow.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        classes: int,
        chunk: int,
        narrow: torch.dtype,
    ) -> Tensor:
        grad_queries, grad_weight, grad_bias = gradients = [
            torch.zeros_like(tensor) if tensor is not None and needed else None
            for tensor, needed in zip((queries, weight, bias), ctx.needs_input_grad, strict=False)
        ]
        table = weight[:classes].to(narrow)
        # On another device the host would wait for the norms, which costs more than the shift.
        shifted = queries.device.type != "cpu" or not highest_score(queries, weight[:classes], bias) <= SAFE
        total = queries.new_zeros(())
        # Reused by all chunks: newly allocated memory would be zeroed by the kernel each time, page by page.
        memory = table.new_empty(chunk, classes)
        part = table.new_empty(table.shape if grad_weight is not None else 0)
        for start in range(0, len(queries), chunk):
            rows, places = queries[start : start + chunk], targets[start : start + chunk]
            count = len(rows)
            rows = F.pad(rows, (0, 0, 0, chunk - count))
            scores = torch.mm((rows * LOG2_E).to(narrow), table.T, out=memory)  # (chunk, V)
            if bias is not None:
                scores += bias[:classes] * LOG2_E
            if shifted:
                scores -= scores.amax(1, keepdim=True)
            picked = scores[:count].gather(1, places.unsqueeze(1)).to(rows.dtype)
            exponentials = scores.exp2_()
            sums = exponentials.sum(1, keepdim=True).to(rows.dtype)  # torch adds up in fp32 at least
            total += (sums[:count].log2() - picked).sum() / LOG2_E
            if grad_queries is not None:
                grad_scores = (exponentials @ table).to(rows.dtype).div_(sums)[:count]
                grad_queries[start : start + chunk] = grad_scores.sub_(weight[places])
            if grad_weight is not None:
                torch.mm(exponentials.T, (rows / sums).to(narrow), out=part)
                _add(grad_weight[:classes], part, first=not start)
            if grad_bias is not None:
                grad_bias[:classes] += ((1 / sums[:count]).T.to(narrow) @ exponentials[:count])[0]
        if grad_weight is not None:
            grad_weight.index_add_(0, targets, queries, alpha=-1)
        if grad_bias is not None:
            ones = grad_bias.new_ones(()).expand(len(targets))
            grad_bias -= torch.zeros_like(grad_bias).index_add_(
                0, targets, ones
            )  # bincount would wait for CUDA
        ctx.gradients = gradients
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("chunked_linear_cross_entropy can be differentiated only once")
        scaled = (None if gradient is None else gradient.mul_(upstream) for gradient in ctx.gradients)
        ctx.gradients = None
        return *scaled, None, None, None, None


def highest_score(queries: Tensor, weight: Tensor, bias: Tensor | None) -> float:
    """Upper bound of the scores' absolute values (Cauchy-Schwarz); NaN if a score is."""
    if not len(queries) or not len(weight):
        return 0.0
    highest = torch.linalg.vector_norm(queries, dim=1).max() * torch.linalg.vector_norm(weight, dim=1).max()
    return float(highest if bias is None else highest + bias.abs().max())


def _add(total: Tensor, part: Tensor, *, first: bool) -> None:
    """Add a part to the total. The first is copied: adding it to zeros costs as much as a large product."""
    if first:
        total.copy_(part)
    else:
        total += part
