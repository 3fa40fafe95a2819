import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mclrec.nn.attention import causal_attention, last_attention
from mclrec.nn.dropout import Dropout, seed_dropout
from mclrec.nn.packing import Layout, layout

HEADS = 2
LENGTHS = [3, 1, 6, 4, 13, 6, 2]


def plan_of(lengths: list[int]) -> tuple[Tensor, Layout]:
    offsets = torch.tensor([0, *np.cumsum(lengths)])
    return offsets, layout(offsets, torch.device("cpu"), 50)


def tokens(lengths: list[int], width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sum(lengths), width, dtype=torch.float64, generator=generator)


def hide(lengths: list[int], seed: int = 0) -> Tensor:
    """Mask of randomly hidden keys; each history's first key stays visible, so that every query sees one."""
    hidden = torch.rand(sum(lengths), generator=torch.Generator().manual_seed(seed)) < 0.4
    hidden[torch.tensor([0, *np.cumsum(lengths)[:-1]])] = False
    return hidden


def seeded(p: float, seed: int = 0) -> Dropout:
    made = Dropout(p)
    seed_dropout(made, np.random.default_rng(seed))
    return made


def by_torch(qkv: Tensor, lengths: list[int], hidden: Tensor) -> Tensor:
    """Torch's attention, history by history."""
    out = []
    for own, keys in zip(qkv.split(lengths), hidden.split(lengths), strict=True):
        q, k, v = own.unflatten(-1, (3, HEADS, -1)).permute(1, 2, 0, 3)  # (heads, L, d / heads)
        seen = torch.ones(len(own), len(own), dtype=torch.bool).tril() & ~keys
        out.append(F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(0, 1).flatten(1))
    return torch.cat(out)


@given(lengths=st.lists(st.integers(1, 13), min_size=1, max_size=8), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_equals_torch_history_by_history(lengths: list[int], seed: int) -> None:
    _, plan = plan_of(lengths)
    qkv, off = tokens(lengths, 12, seed), Dropout(0.5).eval()
    for hidden in (torch.zeros(sum(lengths), dtype=torch.bool), hide(lengths, seed)):
        ordered = hidden[plan.order] if hidden.any() else None
        ours = causal_attention(qkv[plan.order], plan, ordered, HEADS, off)[plan.inverse]
        torch.testing.assert_close(ours, by_torch(qkv, lengths, hidden))


@pytest.mark.parametrize("hiding", [False, True])
def test_last_attention_is_the_last_row_of_causal_attention(hiding: bool) -> None:
    offsets, plan = plan_of(LENGTHS)
    qkv, off = tokens(LENGTHS, 12)[plan.order], Dropout(0.5).eval()
    hidden = hide(LENGTHS)[plan.order] if hiding else None
    all_rows = causal_attention(qkv, plan, hidden, HEADS, off)[plan.inverse]
    last = last_attention(qkv[plan.last, :4], qkv[:, 4:], plan, hidden, HEADS, off)
    torch.testing.assert_close(last, all_rows[offsets[1:] - 1])


@pytest.mark.parametrize("p", [0.5, 0.3])
def test_dropout_multiplies_the_weights(p: float) -> None:
    """History by history and head by head, with the dropout masks drawn a second time."""
    lengths = [2, 5, 3, 9, 7]
    _, plan = plan_of(lengths)
    qkv = tokens(lengths, 12)[plan.order]
    ours, again = causal_attention(qkv, plan, None, HEADS, seeded(p)), seeded(p)
    for group in plan.groups:
        blocks = len(group.bias)
        mask = again.mask((HEADS * blocks, group.length, group.length), qkv)
        assert mask is not None
        for own in plan.inverse.split(lengths):
            block, first = divmod(int(own[0]) - group.start, group.length)
            if not 0 <= block < blocks:
                continue
            inside = slice(first, first + len(own))
            q, k, v = qkv[own].unflatten(-1, (3, HEADS, -1)).permute(1, 2, 0, 3)
            for head in range(HEADS):
                scores = q[head] @ k[head].T / q.shape[-1] ** 0.5
                future = torch.ones(len(own), len(own), dtype=torch.bool).triu(1)
                weights = scores.masked_fill(future, -torch.inf).softmax(-1)
                expected = (weights * mask[head * blocks + block, inside, inside].T) @ v[head]
                torch.testing.assert_close(ours[own, 2 * head : 2 * head + 2], expected)


@pytest.mark.parametrize("p", [0.5, 0.25])
def test_dropout_of_last_attention_has_its_rate(p: float) -> None:
    """With equal scores and unit vectors as values, the output is the weights."""
    lengths = [4] * 2000
    _, plan = plan_of(lengths)
    values = torch.eye(4).repeat(2000, 1)
    keys_values = torch.cat([torch.zeros(8000, 4), values], 1)[plan.order]
    weights = last_attention(torch.zeros(2000, 4), keys_values, plan, None, 1, seeded(p))
    kept = weights[weights != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 0.25 / (1 - p)), rtol=1e-4, atol=0)
    assert abs((weights == 0).double().mean() - p) < 0.03


@pytest.mark.parametrize("hiding", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.5, 0.3])
def test_gradient(hiding: bool, p: float) -> None:
    lengths = [2, 5, 3, 1]
    _, plan = plan_of(lengths)
    qkv = tokens(lengths, 12).requires_grad_()
    hidden = hide(lengths, 3)[plan.order] if hiding else None
    assert hidden is None or hidden.any()

    def run(qkv: Tensor) -> Tensor:
        return causal_attention(qkv[plan.order], plan, hidden, HEADS, seeded(p))[plan.inverse]

    assert torch.autograd.gradcheck(run, qkv)


@pytest.mark.parametrize("hiding", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.5])
def test_gradient_of_last_attention(hiding: bool, p: float) -> None:
    lengths = [2, 5, 3, 1]
    _, plan = plan_of(lengths)
    inside = tokens(lengths, 12)[plan.order]
    hidden = hide(lengths, 3)[plan.order] if hiding else None

    def run(queries: Tensor, keys_values: Tensor) -> Tensor:
        return last_attention(queries, keys_values, plan, hidden, HEADS, seeded(p))

    assert torch.autograd.gradcheck(
        run, (inside[plan.last, :4].requires_grad_(), inside[:, 4:].requires_grad_())
    )


def test_a_query_that_sees_no_key_depends_on_its_own_history_alone() -> None:
    """It attends to the hidden keys of its past, whatever else is in the batch."""
    qkv, off = tokens([3, 16], 12), Dropout(0.5).eval()
    _, alone = plan_of([3])
    _, plan = plan_of([3, 16])
    hidden = torch.ones(19, dtype=torch.bool)
    in_company = causal_attention(qkv[plan.order], plan, hidden[plan.order], HEADS, off)[plan.inverse]
    by_itself = causal_attention(qkv[alone.order], alone, hidden[alone.order], HEADS, off)[alone.inverse]
    torch.testing.assert_close(in_company[:3], by_itself)
    torch.testing.assert_close(by_itself, by_torch(qkv[:3], [3], torch.zeros(3, dtype=torch.bool)))


def gradient(qkv: Tensor, device: str, enabled: bool) -> tuple[Tensor, Tensor]:
    """Value and gradient, with bf16 autocast or without."""
    leaf = qkv.float().to(device).requires_grad_()
    offsets = torch.tensor([0, *np.cumsum(LENGTHS)])
    plan = layout(offsets, torch.device(device), 50)
    projection = torch.eye(12, device=device)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=enabled):
        out = causal_attention((leaf @ projection)[plan.order], plan, None, HEADS, Dropout(0.5).eval())
    assert out.dtype == (torch.bfloat16 if enabled else torch.float32)
    out.float().pow(2).sum().backward()
    assert leaf.grad is not None
    return out.float(), leaf.grad


DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]
    ),
]


@pytest.mark.parametrize("device", DEVICES)
def test_bf16_is_close(device: str) -> None:
    qkv = tokens(LENGTHS, 12)
    for exact, rough in zip(gradient(qkv, device, False), gradient(qkv, device, True), strict=True):
        torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)
