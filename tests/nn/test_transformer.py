from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mclrec.data.packed import Packed
from mclrec.nn.packing import ABSENT, layout
from mclrec.nn.transformer import TransformerEncoder
from mclrec.shapes import round_up

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=9)


POSITIONS = ["oldest", "newest", "relative", "rotary"]


def encoder(
    positions: str = "oldest",
    layers: int = 2,
    causal: bool = True,
    norm: str = "post",
    feed_forward: str = "gelu",
) -> TransformerEncoder:
    torch.manual_seed(3)
    made = TransformerEncoder(
        num_items=20,
        max_length=12,
        hidden_size=8,
        layers=layers,
        heads=2,
        inner_size=16,
        positions=positions,  # type: ignore[arg-type]
        causal=causal,
        norm=norm,  # type: ignore[arg-type]
        feed_forward=feed_forward,  # type: ignore[arg-type]
    )
    for parameter in made.parameters():  # the usual initialisation is too small to show a mistake
        torch.nn.init.normal_(parameter, std=0.5)
    return made.eval().double()


def histories(lengths: list[int], seed: int, hidden: float = 0.0) -> Packed:
    rng = np.random.default_rng(seed)
    rows = [rng.integers(1, 21, size=length) * (rng.random(length) >= hidden) for length in lengths]
    for row in rows:
        row[0] = row[0] or 7  # some key stays visible
    return Packed.of(rows)


def padded(packed: Packed) -> tuple[torch.Tensor, torch.Tensor]:
    out = np.zeros((len(packed), packed.lengths.max()), dtype=np.int64)
    out[packed.rows, packed.positions] = packed.items
    return torch.from_numpy(out), torch.from_numpy(packed.lengths)


def _padded_before(row: list[int]) -> np.ndarray[Any, Any]:
    return np.array([0] * (12 - len(row)) + row)


def tensors(packed: Packed) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(packed.items), torch.from_numpy(packed.offsets)


def turned(vector: torch.Tensor, place: int) -> torch.Tensor:
    """Rotate a head's query or key as complex numbers, one per plane: RoFormer, eq. 13 with several planes."""
    half = len(vector) // 2
    points = torch.complex(vector[:half], vector[half:])
    angles = place * torch.tensor([10_000.0 ** (-2 * i / len(vector)) for i in range(half)]).double()
    points = points * torch.exp(1j * angles)
    return torch.cat([points.real, points.imag])


def feed(block: Any, x: torch.Tensor) -> torch.Tensor:
    """Feed-forward part of one token; SwiGLU is eq. 6 of Shazeer, 2020."""
    inside = block.up(x)
    if len(inside) == 16:
        inside = torch.nn.functional.gelu(inside)
    else:
        inside = inside[:16] * torch.sigmoid(inside[:16]) * inside[16:]
    out: torch.Tensor = block.down(inside)
    return out


def naive(model: TransformerEncoder, items: list[int]) -> torch.Tensor:
    """States (L, d) of one history, token by token and head by head: post-norm blocks of section 2.2, or pre-norm."""
    pre = not isinstance(model.last_norm, torch.nn.Identity)
    n, length = model.max_length, len(items)
    first = n - length if model.positions_from == "newest" else 0
    places = torch.zeros(n, 8) if model.positions is None else model.positions.weight
    x = [model.norm(model.items.weight[i] + places[first + t]) for t, i in enumerate(items)]
    for block in cast("list[Any]", model.blocks):
        qkv = [block.qkv(block.attention_norm(token) if pre else token).chunk(3) for token in x]
        out = []
        for t in range(length):
            heads = []
            for part in range(2):
                cut = slice(4 * part, 4 * part + 4)
                visible = range(t + 1 if model.causal else length)
                seen = [s for s in visible if items[s] != 0] or list(range(length))
                turn = turned if model.positions_from == "rotary" else lambda vector, _: vector
                query = turn(qkv[t][0][cut], t)
                scores = torch.stack([query @ turn(qkv[s][1][cut], s) / 2 for s in seen])
                if block.distances is not None:
                    scores = scores + torch.stack([block.distances.weight[part, abs(t - s)] for s in seen])
                weights = scores.softmax(0)
                heads.append(sum(w * qkv[s][2][cut] for w, s in zip(weights, seen, strict=True)))
            attended = x[t] + block.out(torch.cat(heads))
            attended = attended if pre else block.attention_norm(attended)
            whole = attended + feed(block, block.norm(attended) if pre else attended)
            out.append(whole if pre else block.norm(whole))
        x = out
    states: torch.Tensor = model.last_norm(torch.stack(x))
    return states


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize(("norm", "feed_forward"), [("post", "gelu"), ("pre", "gelu"), ("pre", "swiglu")])
def test_equals_the_naive_loop(feed_forward: str, norm: str, positions: str, causal: bool) -> None:
    model = encoder(positions, causal=causal, norm=norm, feed_forward=feed_forward)
    packed = histories([1, 5, 12, 3, 5], 0)
    expected = torch.cat([naive(model, row) for row in packed.tolist()])
    torch.testing.assert_close(model.encode(*tensors(packed), "all"), expected)
    last = torch.from_numpy(packed.offsets[1:] - 1)
    torch.testing.assert_close(model.encode(*tensors(packed), "last"), expected[last])


@pytest.mark.parametrize("positions", ["newest", "relative", "rotary"])
@settings(max_examples=5)
@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_padding_sees_the_whole_history(positions: str, lengths: list[int], seed: int) -> None:
    model = encoder(positions)
    rows = torch.from_numpy(np.stack([_padded_before(row) for row in histories(lengths, seed, 0.3).tolist()]))
    expected = torch.cat([naive(model, row.tolist()) for row in rows])
    torch.testing.assert_close(
        model.encode_padding(rows.flatten(), torch.arange(len(rows) + 1) * 12), expected
    )


def test_padding_changes_no_state_of_an_item() -> None:
    model, packed = encoder("newest"), histories([1, 5, 12, 3, 5], 0)
    states = model.encode_padding(
        torch.from_numpy(np.concatenate([_padded_before(row) for row in packed.tolist()])),
        torch.arange(len(packed) + 1) * 12,
    )
    rows = states.view(len(packed), 12, -1)
    of_items = torch.cat([row[12 - length :] for row, length in zip(rows, packed.lengths, strict=True)])
    torch.testing.assert_close(of_items, model.encode(*tensors(packed), "all"))


@pytest.mark.parametrize("positions", ["oldest", "relative", "rotary"])
def test_hidden_items_are_seen_by_no_token(positions: str) -> None:
    model, packed = encoder(positions), histories([4, 9, 12, 2], 1, hidden=0.5)
    assert (packed.items == 0).any()
    expected = torch.stack([naive(model, row)[-1] for row in packed.tolist()])
    torch.testing.assert_close(model.encode(*tensors(packed)), expected)
    torch.testing.assert_close(model(*padded(packed)), expected)


@given(
    lengths=LENGTHS,
    seed=st.integers(0, 99),
    positions=st.sampled_from(POSITIONS),
    causal=st.booleans(),
    norm=st.sampled_from(["post", "pre"]),
    feed_forward=st.sampled_from(["gelu", "swiglu"]),
)
@settings(max_examples=25, deadline=None)
def test_packed_equals_padded_in_value_and_gradient(
    lengths: list[int], seed: int, positions: str, causal: bool, norm: str, feed_forward: str
) -> None:
    model = encoder(positions, causal=causal, norm=norm, feed_forward=feed_forward)
    packed = histories(lengths, seed, hidden=0.3)
    gradients = []
    for states in (model.encode(*tensors(packed)), model(*padded(packed))):
        model.zero_grad()
        states.pow(2).sum().backward()
        gradients.append(
            [states.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]
        )
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("positions", ["oldest", "relative", "rotary"])
def test_later_items_and_other_histories_do_not_matter(positions: str) -> None:
    model = encoder(positions)
    short, long = Packed.of([[3, 4, 5]]), Packed.of([[9], [3, 4, 5, 6, 7], [2] * 12])
    alone = model.encode(*tensors(short), "all")
    torch.testing.assert_close(model.encode(*tensors(long), "all")[1:4], alone)


def test_a_head_of_an_odd_size_cannot_be_turned() -> None:
    with pytest.raises(ValueError, match="heads of 3 features: rotary positions need an even number"):
        TransformerEncoder(num_items=3, hidden_size=6, positions="rotary")


def test_a_history_of_hidden_items_only_stays_finite() -> None:
    assert encoder().encode(*tensors(Packed.of([[0], [0, 0]])), "all").isfinite().all()


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40), max_length=st.integers(50, 300))
@settings(max_examples=50, deadline=None)
def test_layout_puts_whole_histories_into_blocks(lengths: list[int], max_length: int) -> None:
    offsets = torch.tensor([0, *np.cumsum(lengths)])
    plan = layout(offsets, torch.device("cpu"), max_length)
    total = sum(lengths)
    assert plan.order[plan.inverse].tolist() == list(range(total))
    assert plan.inverse[offsets[1:] - 1].tolist() == plan.last.tolist()
    assert plan.owners[plan.inverse].tolist() == np.repeat(np.arange(len(lengths)), lengths).tolist()
    assert [group.start for group in plan.groups] == [0, *(group.stop for group in plan.groups[:-1])]
    assert plan.groups[-1].stop <= len(plan.order) == round_up(plan.groups[-1].stop, 16)
    places = plan.inverse.split(lengths)
    for group in plan.groups:
        inside = [own for own in places if group.start <= own[0] < group.stop]
        seen = torch.zeros(group.stop - group.start, group.stop - group.start, dtype=torch.bool)
        for own in inside:
            assert torch.equal(own, torch.arange(own[0], own[-1] + 1))
            assert (own[0] - group.start) // group.length == (own[-1] - group.start) // group.length
            seen[own[:, None] - group.start, own - group.start] = torch.ones(len(own), len(own)).triu().bool()
        blocks = seen.unflatten(0, (-1, group.length)).unflatten(2, (-1, group.length))
        expected = blocks.diagonal(dim1=0, dim2=2).permute(2, 0, 1)
        used = torch.isin(torch.arange(group.start, group.stop), torch.cat(inside)).view(-1, group.length)
        assert torch.equal((group.bias == 0)[used], expected[used])
        assert set(group.bias.unique().tolist()) <= {0, ABSENT}


def test_blocks_are_nearly_full() -> None:
    lengths = np.random.default_rng(0).geometric(0.14, 768).clip(max=50)
    plan = layout(torch.tensor([0, *np.cumsum(lengths)]), torch.device("cpu"), 50)
    assert [group.length for group in plan.groups] == [56, 16]
    assert plan.groups[-1].stop < 1.02 * lengths.sum()
