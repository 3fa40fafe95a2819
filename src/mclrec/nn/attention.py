"""Causal self-attention over packed tokens, with its own backward pass.

The backward pass is written out because autograd spends more time on copies and bookkeeping than on the products.
Scores are stored as (keys, queries): a softmax over the first of two dimensions is faster than over a short last one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mclrec.nn.dropout import Dropout
from mclrec.nn.packing import ABSENT, Group, Layout

__all__ = ["attend", "causal_attention", "last_attention"]

_HIDDEN = ABSENT / 2
"""Added to the score of a hidden key: no query attends to it unless it sees no other key."""


def causal_attention(
    qkv: Tensor,
    plan: Layout,
    hidden: Tensor | None,
    heads: int,
    dropout: Dropout,
    distance: Sequence[Tensor] = (),
) -> Tensor:
    """Causal self-attention: each token attends to itself and to earlier tokens of its own history.

    Args:
        qkv: (S, 3 d) queries, keys and values in the layout's order.
        plan: the layout.
        hidden: (S,) which keys are hidden from all queries; None for none.
        heads: number of heads.
        dropout: of the attention weights.
        distance: for each group of the layout, (heads, L, L) biases of the score of a key (second dimension) for a
            query (third); empty for no biases.

    Returns:
        (S, d).
    """
    like = qkv.new_empty((), dtype=torch.promote_types(qkv.dtype, torch.float32))
    masks = [
        dropout.mask((heads * len(group.bias), group.length, group.length), like) for group in plan.groups
    ]
    attended: Tensor = _CausalAttention.apply(  # type: ignore[no-untyped-call]
        qkv, plan.groups, hidden, heads, masks, *distance
    )
    return attended


def last_attention(
    queries: Tensor,
    keys_values: Tensor,
    plan: Layout,
    hidden: Tensor | None,
    heads: int,
    dropout: Dropout,
    distance: Tensor | None = None,
) -> Tensor:
    """Attention of the last token of each history to the whole history.

    Args:
        queries: (B, d).
        keys_values: (S, 2 d) in the layout's order.
        plan: the layout.
        hidden: (S,) which keys are hidden from all queries; None for none.
        heads: number of heads.
        dropout: of the attention weights.
        distance: (heads, T) biases of the score of each token of the packed input; None for no biases.

    Returns:
        (B, d).
    """
    like = queries.new_empty((), dtype=torch.promote_types(queries.dtype, torch.float32))
    mask = dropout.mask((heads, len(queries), plan.max_length), like)
    attended: Tensor = _LastAttention.apply(  # type: ignore[no-untyped-call]
        queries, keys_values, plan, hidden, heads, mask, distance
    )
    return attended


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    future: Tensor,
    hidden: Tensor,
    dropout: Dropout,
    distance: Tensor | None = None,
) -> Tensor:
    """Self-attention on padded tokens using plain tensor operations: the form that is exported.

    Args:
        q: (b, heads, Q, d / heads).
        k: (b, heads, L, d / heads).
        v: as k.
        future: (Q, L) which keys come after a query.
        hidden: (b, L) which keys are hidden from all queries.
        dropout: of the attention weights.
        distance: (heads, Q, L) biases of the scores; None for no biases.

    Returns:
        (b, Q, d).
    """
    scores = (q * (1 / math.sqrt(q.shape[-1]))) @ k.transpose(-1, -2)
    scores = scores + (future * ABSENT + (hidden * _HIDDEN)[:, None, None])
    if distance is not None:
        scores = scores + distance
    weights = dropout(scores.softmax(-1))
    mixed: Tensor = weights.to(v.dtype) @ v
    return mixed.transpose(1, 2).flatten(2)


def _multiply(tensor: Tensor, mask: Tensor | None) -> Tensor:
    return tensor if mask is None else tensor * mask


def _split(tokens: Tensor, parts: int, heads: int, length: int) -> Tensor:
    """(blocks L, parts d) -> (parts, heads blocks, L, d / heads), contiguous."""
    blocks = tokens.view(-1, length, parts, heads, tokens.shape[1] // (parts * heads))
    return (
        blocks.permute(2, 3, 0, 1, 4)
        .reshape(parts, -1, length, blocks.shape[-1])
        .to(torch.promote_types(tokens.dtype, torch.float32))
    )


def _join(split: Tensor, heads: int, out: Tensor) -> None:
    """(parts, heads blocks, L, d / heads) -> out (blocks L, parts d)."""
    parts, _, length, size = split.shape
    blocks = split.view(parts, heads, -1, length, size).permute(2, 3, 0, 1, 4)
    out.view(-1, length, parts, heads, size).copy_(blocks)


class _CausalAttention(torch.autograd.Function):
    """Attention within blocks, group by group: two batched products with a softmax between them."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        groups: tuple[Group, ...],
        hidden: Tensor | None,
        heads: int,
        masks: list[Tensor | None],
        *distance: Tensor,
    ) -> Tensor:
        out, saved = qkv.new_zeros(len(qkv), qkv.shape[1] // 3), []
        with torch.autocast(qkv.device.type, enabled=False):
            for number, (group, mask) in enumerate(zip(groups, masks, strict=True)):
                places = slice(group.start, group.stop)
                q, k, v = split = _split(qkv[places], 3, heads, group.length)
                bias = group.bias.to(q.dtype)
                if hidden is not None:
                    bias = bias + (hidden[places] * _HIDDEN).view(-1, group.length, 1)
                scores = torch.baddbmm(q.new_zeros(()), k, q.mT, beta=0, alpha=1 / math.sqrt(q.shape[-1]))
                scores.unflatten(0, (heads, -1)).add_(bias)
                if distance:
                    scores.unflatten(0, (heads, -1)).add_(distance[number].to(scores.dtype).unsqueeze(1))
                weights = scores.softmax(1)
                _join(torch.bmm(_multiply(weights, mask).mT, v)[None], heads, out[places])
                saved += [split, weights]
        ctx.save_for_backward(*saved)
        ctx.groups, ctx.heads, ctx.masks = groups, heads, masks
        ctx.of_distance = [part.dtype for part in distance]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_qkv, saved = gradient.new_zeros(len(gradient), 3 * gradient.shape[1]), ctx.saved_tensors
        of_distance = []
        for number, (group, mask) in enumerate(zip(ctx.groups, ctx.masks, strict=True)):
            places = slice(group.start, group.stop)
            (q, k, v), weights = saved[2 * number], saved[2 * number + 1]
            (of_mixed,) = _split(gradient[places], 1, ctx.heads, group.length)
            of_split = torch.empty_like(saved[2 * number])
            torch.bmm(_multiply(weights, mask), of_mixed, out=of_split[2])
            of_weights = torch.bmm(v, of_mixed.mT)
            if mask is not None:
                of_weights.mul_(mask)
            grad_scores = _softmax_backward(of_weights, weights, 1)
            if ctx.of_distance:
                of_distance.append(
                    grad_scores.unflatten(0, (ctx.heads, -1)).sum(1).to(ctx.of_distance[number])
                )
            grad_scores.mul_(1 / math.sqrt(q.shape[-1]))
            torch.bmm(grad_scores.mT, k, out=of_split[0])
            torch.bmm(grad_scores, q, out=of_split[1])
            _join(of_split, ctx.heads, of_qkv[places])
        return of_qkv, None, None, None, None, *of_distance


def _softmax_backward(of_weights: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Backward pass of softmax: p * (g - sum(p * g)) along a dimension. Overwrites ``of_weights``."""
    products = of_weights.mul_(weights)
    return products.sub_(weights * products.sum(dim, keepdim=True))


class _LastAttention(torch.autograd.Function):
    """Attention of last tokens, computed token by token: only the scores, one per head, are padded."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys_values: Tensor,
        plan: Layout,
        hidden: Tensor | None,
        heads: int,
        mask: Tensor | None,
        distance: Tensor | None,
    ) -> Tensor:
        wide = torch.promote_types(queries.dtype, torch.float32)
        with torch.autocast(queries.device.type, enabled=False):
            asked = queries.to(wide).index_select(0, plan.owners).unflatten(1, (heads, -1))  # (S, heads, .)
            keys, values = pairs = keys_values.to(wide).unflatten(1, (2, heads, -1)).unbind(1)
            scores = (asked * keys).sum(-1).mul_(1 / math.sqrt(keys.shape[-1]))  # (S, heads)
            if hidden is not None:
                scores += (hidden * _HIDDEN)[:, None]
            padded = scores.new_full((heads, len(queries) * plan.max_length), ABSENT)
            of_tokens = scores.index_select(0, plan.inverse).T
            if distance is not None:
                of_tokens = of_tokens + distance.to(wide)
            padded.index_copy_(1, plan.slots, of_tokens)
            weights = padded.view(heads, len(queries), plan.max_length).softmax(-1)
            dropped = _multiply(weights, mask).flatten(1).index_select(1, plan.slots)  # (heads, T)
            mixed = _sum_histories(values, dropped, plan)
        ctx.save_for_backward(asked, *pairs, weights, dropped)
        ctx.plan, ctx.mask, ctx.narrow = plan, mask, queries.dtype
        ctx.of_distance = None if distance is None else distance.dtype
        return mixed.to(queries.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        asked, keys, values, weights, dropped = ctx.saved_tensors
        plan, heads = ctx.plan, keys.shape[1]
        received = gradient.to(keys.dtype).index_select(0, plan.owners).unflatten(1, (heads, -1))
        of_dropped = (received * values).sum(-1).index_select(0, plan.inverse)  # (T, heads)
        padded = torch.zeros_like(weights)
        padded.flatten(1).index_copy_(1, plan.slots, of_dropped.T)
        grad_scores = _softmax_backward(_multiply(padded, ctx.mask), weights, -1)
        of_tokens = grad_scores.flatten(1).index_select(1, plan.slots)
        of_distance = None if ctx.of_distance is None else of_tokens.to(ctx.of_distance)
        of_scores = of_tokens * (1 / math.sqrt(keys.shape[-1]))
        inside = keys.new_zeros(2, len(keys), heads, 1)
        both = torch.stack([of_scores.T, dropped.T])  # (2, T, heads)
        inside.view(2, len(keys), heads).index_copy_(1, plan.inverse, both)
        of_pairs = torch.stack([asked * inside[0], received * inside[1]], 1)
        grad_queries = _sum_histories(keys, of_scores, plan)
        of_keys_values = of_pairs.flatten(1).to(ctx.narrow)
        return grad_queries.to(ctx.narrow), of_keys_values, None, None, None, None, of_distance


def _sum_histories(vectors: Tensor, weights: Tensor, plan: Layout) -> Tensor:
    """Weighted sums (B, d) over each history of (S, heads, d / heads) vectors, with (heads, T) weights."""
    sums = [
        torch.embedding_bag(
            vectors[:, head].contiguous(),
            plan.inverse,
            plan.offsets,
            per_sample_weights=weights[head],
            include_last_offset=True,
        )[0]
        for head in range(vectors.shape[1])
    ]
    return torch.cat(sums, 1)
