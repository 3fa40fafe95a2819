"""Softmax cross-entropy over a catalogue too large for a (B, V) tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["chunked_linear_cross_entropy"]


def chunked_linear_cross_entropy(
    queries: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int = 256
) -> Tensor:
    """Sum of ``-y[g] + log sum_i exp(y[i])``, ``y = weight @ query + bias`` (paper, eq. 3, y-hat as logits).

    Goes over the queries ``chunk`` rows at a time and takes the gradients along the way, so that neither the
    forward nor the backward pass holds more than (chunk, V) scores. Computes in fp32 at least, autocast or
    not. It cannot be differentiated twice.

    Args:
        queries: (B, d).
        weight: (V, d) one row a class.
        bias: (V,) or None.
        targets: (B,) int64 in 0..V-1.
        chunk: rows at a time.

    Returns:
        Scalar: the sum over rows; the caller divides by its number of targets.
    """
    precision = torch.promote_types(queries.dtype, torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        total: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
            queries.to(precision),
            weight.to(precision),
            None if bias is None else bias.to(precision),
            targets,
            chunk,
        )
    return total


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The loss is a scalar, so that its gradients, known in the forward pass, need only be scaled."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int
    ) -> Tensor:
        inputs = (queries, weight, bias)
        gradients = [
            torch.zeros_like(tensor) if tensor is not None and needed else None
            for tensor, needed in zip(inputs, ctx.needs_input_grad, strict=False)
        ]
        total = queries.new_zeros(())
        for start in range(0, len(queries), chunk):
            rows = slice(start, start + chunk)
            scores = queries[rows] @ weight.T  # (chunk, V)
            if bias is not None:
                scores += bias
            places = targets[rows].unsqueeze(1)
            highest = scores.amax(1, keepdim=True)
            total += (highest - scores.gather(1, places)).sum()
            # One exponential a score serves the loss and d loss / d scores: the softmax, less 1 at the target.
            slopes = scores.sub_(highest).exp_()
            sums = slopes.sum(1, keepdim=True)
            total += sums.log().sum()
            slopes.div_(sums).scatter_add_(1, places, slopes.new_full(places.shape, -1.0))
            of_queries, of_weight, of_bias = gradients
            if of_queries is not None:
                torch.mm(slopes, weight, out=of_queries[rows])
            if of_weight is not None:
                of_weight.addmm_(slopes.T, queries[rows])
            if of_bias is not None:
                of_bias += slopes.sum(0)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (None if gradient is None else gradient * upstream for gradient in ctx.saved_tensors)
        return *scaled, None, None
