"""Causal self-attention over packed tokens, with its own backward pass.

Written out because autograd, over a few groups of histories and several small operations in each, spends more time
on copies and bookkeeping than on the products.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mclrec.nn.dropout import Dropout
from mclrec.nn.packing import Group, Layout

__all__ = ["HIDDEN", "causal_attention", "last_attention"]

HIDDEN = -1e9
"""Added to the score of a key that must not be seen. Finite: a query that sees no key must not become NaN."""


def causal_attention(
    qkv: Tensor, plan: Layout, hidden: Tensor | None, heads: int, dropout: Dropout
) -> Tensor:
    """Each token attends to itself and to what came before it in its own history.

    Args:
        qkv: (T, 3 d) queries, keys and values in the layout's order.
        plan: the layout.
        hidden: (T,) which keys nobody sees; None for none.
        heads: number of heads.
        dropout: on the weights.

    Returns:
        (T, d).
    """
    biases, masks = [], []
    for group in plan.groups:
        biases.append(_bias(group, hidden, heads, qkv))
        masks.append(dropout.mask((group.rows * heads, group.longest, group.longest), qkv))
    attended: Tensor = _CausalAttention.apply(  # type: ignore[no-untyped-call]
        qkv, plan.groups, heads, biases, masks
    )
    return attended


def last_attention(
    queries: Tensor, keys_values: Tensor, plan: Layout, hidden: Tensor | None, heads: int, dropout: Dropout
) -> Tensor:
    """The last token of each history attends to the whole history.

    Args:
        queries: (B, d) in the groups' order of histories.
        keys_values: (T, 2 d) in the layout's order.
        plan: the layout.
        hidden: (T,) which keys nobody sees; None for none.
        heads: number of heads.
        dropout: on the weights.

    Returns:
        (B, d) in the groups' order.
    """
    parts = []
    rows = queries.split([group.rows for group in plan.groups])
    for group, query in zip(plan.groups, rows, strict=True):
        tokens = keys_values[group.start : group.stop]
        k, v = group.pad(tokens).unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4)
        q = query.unflatten(-1, (heads, -1))[:, :, None]  # (b, heads, 1, d / heads)
        places = torch.arange(group.longest, device=queries.device)
        blocked = (places >= group.lengths[:, None])[:, None, None, :]
        if hidden is not None:
            blocked = blocked | group.pad(hidden[group.start : group.stop])[:, None, None, :]
        parts.append(attend(q, k, v, blocked, dropout).squeeze(1))
    return torch.cat(parts)


def attend(q: Tensor, k: Tensor, v: Tensor, blocked: Tensor, dropout: Dropout) -> Tensor:
    """Scaled dot-product attention, plainly: q (b, heads, Q, d / heads), blocked (b, 1, Q, L) -> (b, Q, d)."""
    scores = (q * (1 / math.sqrt(q.shape[-1]))) @ k.transpose(-1, -2)
    weights = dropout(scores.masked_fill(blocked, HIDDEN).softmax(-1))
    mixed: Tensor = weights.to(v.dtype) @ v
    return mixed.transpose(1, 2).flatten(2)


def _bias(group: Group, hidden: Tensor | None, heads: int, like: Tensor) -> Tensor:
    """What is added to scores: (L, L) for the future, or (b heads, L, L) for hidden keys as well."""
    future = like.new_full((group.longest, group.longest), HIDDEN).triu(1)
    if hidden is None:
        return future
    keys = group.pad(hidden[group.start : group.stop]).to(like.dtype) * HIDDEN  # (b, L)
    return (future + keys[:, None, :]).clamp(min=HIDDEN).repeat_interleave(heads, 0)


def _split_heads(padded: Tensor, parts: int, heads: int) -> Tensor:
    """(b, L, parts d) -> (parts, b heads, L, d / heads), contiguous."""
    rows, longest, width = padded.shape
    return (
        padded.view(rows, longest, parts, heads, width // (parts * heads))
        .permute(2, 0, 3, 1, 4)
        .reshape(parts, rows * heads, longest, -1)
    )


def _join_heads(split: Tensor, heads: int) -> Tensor:
    """(parts, b heads, L, d / heads) -> (b L, parts d)."""
    parts, rows, longest, size = split.shape
    return (
        split.view(parts, rows // heads, heads, longest, size)
        .permute(1, 3, 0, 2, 4)
        .reshape(rows // heads * longest, parts * heads * size)
    )


class _CausalAttention(torch.autograd.Function):
    """Group by group: pad, two batched products with a softmax between them, unpad."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        groups: tuple[Group, ...],
        heads: int,
        biases: list[Tensor],
        masks: list[Tensor | None],
    ) -> Tensor:
        scale = 1 / math.sqrt(qkv.shape[1] / (3 * heads))
        out = qkv.new_empty(len(qkv), qkv.shape[1] // 3)
        saved = []
        for group, bias, mask in zip(groups, biases, masks, strict=True):
            q, k, v = split = _split_heads(group.pad(qkv[group.start : group.stop]), 3, heads)
            # CUDA's autocast leaves softmax in fp32; the backward pass multiplies weights with narrower gradients.
            weights = torch.baddbmm(bias, q, k.mT, alpha=scale).softmax(-1).to(v.dtype)
            mixed = torch.bmm(weights if mask is None else weights * mask, v)
            out[group.start : group.stop] = _join_heads(mixed[None], heads).index_select(0, group.slots)
            saved += [split, weights]
        ctx.save_for_backward(*saved)
        ctx.groups, ctx.heads, ctx.masks, ctx.scale = groups, heads, masks, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_qkv = gradient.new_empty(len(gradient), 3 * gradient.shape[1])
        saved = ctx.saved_tensors
        for number, (group, mask) in enumerate(zip(ctx.groups, ctx.masks, strict=True)):
            (q, k, v), weights = saved[2 * number], saved[2 * number + 1]
            of_mixed = _split_heads(group.pad(gradient[group.start : group.stop]), 1, ctx.heads)[0]
            of_weights = torch.bmm(of_mixed, v.mT)
            dropped = weights
            if mask is not None:
                of_weights.mul_(mask)
                dropped = weights * mask
            of_split = torch.empty_like(saved[2 * number])
            torch.bmm(dropped.mT, of_mixed, out=of_split[2])
            # Backward pass of the softmax: p * (g - sum(p * g)).
            products = of_weights.mul_(weights)
            slopes = products.sub_(weights * products.sum(-1, keepdim=True)).mul_(ctx.scale)
            torch.bmm(slopes, k, out=of_split[0])
            torch.bmm(slopes.mT, q, out=of_split[1])
            of_qkv[group.start : group.stop] = _join_heads(of_split, ctx.heads).index_select(0, group.slots)
        return of_qkv, None, None, None, None
