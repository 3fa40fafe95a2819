"""The frequency filter against the Fourier transform of padded histories, written from the paper's equations."""

from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.nn.test_transformer import LENGTHS, histories, padded, tensors

from mclrec.data.packed import Packed
from mclrec.nn.blocks import Block
from mclrec.nn.frequency import Frequencies, FrequencyFilter
from mclrec.nn.packing import layout, with_padding
from mclrec.nn.transformer import TransformerEncoder

WINDOW, SIZE = 20, 8
Positions = Literal["oldest", "newest", "relative"]


def encoder(
    positions: Positions = "oldest",
    *,
    layers: int = 2,
    causal: bool = False,
    kept: int = 5,
    norm: Literal["post", "pre"] = "post",
    both_sides: bool = False,
) -> TransformerEncoder:
    torch.manual_seed(3)
    made = TransformerEncoder(
        num_items=20,
        max_length=WINDOW,
        hidden_size=SIZE,
        layers=layers,
        heads=2,
        inner_size=16,
        positions=positions,
        norm=norm,
        causal=not both_sides,
        frequencies=Frequencies(kept, alpha=0.7, causal=causal),
    )
    for parameter in made.parameters():  # the usual initialisation is too small to show a mistake
        torch.nn.init.normal_(parameter, std=0.5)
    return made.eval().double()


def by_transform(x: torch.Tensor, kept: int, sqrt_beta: torch.Tensor) -> torch.Tensor:
    """Filter one history (L, d): pad with zeros before it to n places, and apply the transform and its inverse."""
    length = len(x)
    window = torch.cat([torch.zeros(WINDOW - length, x.shape[1], dtype=x.dtype), x])
    spectrum = torch.fft.rfft(window, dim=0, norm="ortho")
    spectrum[kept // 2 + 1 :] = 0
    low = torch.fft.irfft(spectrum, n=WINDOW, dim=0, norm="ortho")
    filtered: torch.Tensor = low + sqrt_beta**2 * (window - low)
    return filtered[WINDOW - length :]


def attend(block: Any, x: torch.Tensor, items: list[int], both_sides: bool) -> torch.Tensor:
    """Self-attention of one history, one item and one head at a time."""
    half, qkv = SIZE // 2, [block.qkv(row).chunk(3) for row in x]
    rows = []
    for t in range(len(x)):
        heads = []
        for head in range(2):
            cut = slice(half * head, half * (head + 1))
            visible = range(len(x) if both_sides else t + 1)
            seen = [s for s in visible if items[s]] or list(range(len(x)))
            scores = torch.stack([qkv[t][0][cut] @ qkv[s][1][cut] / half**0.5 for s in seen])
            if block.distances is not None:
                scores = scores + torch.stack([block.distances.weight[head, abs(t - s)] for s in seen])
            weights = scores.softmax(0)
            heads.append(sum(w * qkv[s][2][cut] for w, s in zip(weights, seen, strict=True)))
        rows.append(block.out(torch.cat(heads)))
    return torch.stack(rows)


def naive(model: TransformerEncoder, items: list[int], causal: bool) -> torch.Tensor:
    """States (L, d) of one history."""
    places = torch.zeros(WINDOW, SIZE) if model.positions is None else model.positions.weight
    first = WINDOW - len(items) if model.positions_from == "newest" else 0
    x: torch.Tensor = model.norm(model.items.weight[items] + places[first : first + len(items)])
    visible = torch.tensor(items)[:, None] != 0
    pre, both_sides = not isinstance(model.last_norm, torch.nn.Identity), not model.causal
    for block in cast("list[Any]", model.blocks):
        kept, sqrt_beta = block.filter.kept, block.filter.sqrt_beta
        entering = block.filter_norm(x) if pre else x
        heard = entering * visible
        if causal and not both_sides:
            ends = range(1, len(items) + 1)
            filtered = torch.stack([by_transform(heard[:end], kept, sqrt_beta)[-1] for end in ends])
        else:
            filtered = by_transform(heard, kept, sqrt_beta)
        filtered = filtered + sqrt_beta**2 * (
            entering - heard
        )  # a hidden item is zero to the filter: all of it is high frequency
        if pre:
            attended = attend(block, block.attention_norm(x), items, both_sides)
            mixed = x + 0.7 * filtered + 0.3 * attended
            x = mixed + block.down(torch.nn.functional.gelu(block.up(block.norm(mixed))))
        else:
            mixed = 0.7 * block.filter_norm(x + filtered)
            mixed = mixed + 0.3 * block.attention_norm(x + attend(block, x, items, both_sides))
            x = block.norm(mixed + block.down(torch.nn.functional.gelu(block.up(mixed))))
    states: torch.Tensor = model.last_norm(x)
    return states


@given(window=st.integers(2, 60), half=st.integers(0, 29))
@settings(max_examples=60, deadline=None)
def test_taps_are_what_a_transform_makes_of_an_impulse(window: int, half: int) -> None:
    kept = min(2 * half + 1, window - 1 - window % 2)
    if kept < 1:
        return
    impulse = torch.zeros(window, dtype=torch.float64)
    impulse[0] = 1
    spectrum = torch.fft.rfft(impulse)
    spectrum[kept // 2 + 1 :] = 0
    made = FrequencyFilter(SIZE, window, kept, causal=False)
    torch.testing.assert_close(made.taps(impulse), torch.fft.irfft(spectrum, n=window))
    torch.testing.assert_close(made.taps(impulse.float()), torch.fft.irfft(spectrum, n=window).float())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("positions", ["oldest", "newest", "relative"])
@pytest.mark.parametrize(("kept", "norm"), [(1, "post"), (5, "post"), (5, "pre"), (19, "post")])
def test_equals_the_transform_of_padded_histories(
    kept: int, norm: Literal["post", "pre"], positions: Positions, causal: bool
) -> None:
    model = encoder(positions, causal=causal, kept=kept, norm=norm)
    packed = histories([1, 5, 20, 3, 17, 5, 16], 0)
    expected = torch.cat([naive(model, row, causal) for row in packed.tolist()])
    torch.testing.assert_close(model.encode(*tensors(packed), "all"), expected)
    last = torch.from_numpy(packed.offsets[1:] - 1)
    torch.testing.assert_close(model.encode(*tensors(packed), "last"), expected[last])
    torch.testing.assert_close(model(*padded(packed)), expected[last])


@pytest.mark.parametrize("causal", [False, True])
def test_hidden_items_are_padding_to_the_filter(causal: bool) -> None:
    model, packed = encoder("newest", causal=causal), histories([4, 9, 12, 2, 20], 1, hidden=0.5)
    assert (packed.items == 0).any()
    expected = torch.stack([naive(model, row, causal)[-1] for row in packed.tolist()])
    torch.testing.assert_close(model.encode(*tensors(packed)), expected)
    torch.testing.assert_close(model(*padded(packed)), expected)


@pytest.mark.parametrize("causal", [False, True])
def test_padding_is_read_as_items_are(causal: bool) -> None:
    """The filter ignores which keys `with_padding` hides from attention, and which places it lets see everything."""
    offsets, made = torch.tensor([0, 7, 14, 34]), FrequencyFilter(SIZE, 20, 5, causal).double()
    plan = layout(offsets, torch.device("cpu"), 20, causal=False)
    x, hidden = torch.randn(len(plan.order), SIZE, dtype=torch.float64), torch.rand(len(plan.order)) < 0.5
    found = made(x, with_padding(plan, hidden), None, last_only=False)
    expected = made(x, layout(offsets, torch.device("cpu"), 20), None, last_only=False)
    torch.testing.assert_close(found[plan.inverse], expected[plan.inverse])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_where_attention_sees_both_sides_the_filter_does(norm: Literal["post", "pre"], causal: bool) -> None:
    model, packed = encoder(causal=causal, norm=norm, both_sides=True), histories([1, 5, 20, 17], 3)
    expected = torch.cat([naive(model, row, causal) for row in packed.tolist()])
    torch.testing.assert_close(model.encode(*tensors(packed), "all"), expected)
    torch.testing.assert_close(model(*padded(packed)), expected[torch.from_numpy(packed.offsets[1:] - 1)])


@given(
    lengths=LENGTHS,
    seed=st.integers(0, 99),
    positions=st.sampled_from(["oldest", "newest", "relative"]),
    causal=st.booleans(),
    norm=st.sampled_from(["post", "pre"]),
    both_sides=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_packed_equals_padded_in_value_and_gradient(
    lengths: list[int],
    seed: int,
    positions: Positions,
    causal: bool,
    norm: Literal["post", "pre"],
    both_sides: bool,
) -> None:
    model = encoder(positions, causal=causal, norm=norm, both_sides=both_sides)
    packed = histories(lengths, seed, hidden=0.3)
    gradients = []
    for states in (model.encode(*tensors(packed)), model(*padded(packed))):
        model.zero_grad()
        states.pow(2).sum().backward()
        grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        gradients.append([states.detach(), *grads])
    assert len(gradients[0]) == 1 + len(list(model.parameters()))
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_first_causal_block_is_the_papers_at_each_prefix_and_no_later_one(layers: int) -> None:
    causal, window = encoder(layers=layers, causal=True), encoder(layers=layers)
    packed = histories([1, 5, 20, 17], 2)
    states = causal.encode(*tensors(packed), "all")
    prefixes = Packed.of([np.array(row[: end + 1]) for row in packed.tolist() for end in range(len(row))])
    expected = window.encode(*tensors(prefixes), "last")
    assert torch.allclose(states, expected, rtol=1e-9, atol=1e-9) == (layers == 1)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("positions", ["oldest", "relative"])
def test_later_items_and_other_histories_do_not_matter(
    positions: Positions, norm: Literal["post", "pre"]
) -> None:
    model = encoder(positions, causal=True, norm=norm)
    short, long = Packed.of([[3, 4, 5]]), Packed.of([[9], [3, 4, 5, 6, 7], [2] * 12])
    alone = model.encode(*tensors(short), "all")
    torch.testing.assert_close(model.encode(*tensors(long), "all")[1:4], alone)


def test_the_filter_of_a_window_sees_later_items() -> None:
    model = encoder()
    changed = model.encode(*tensors(Packed.of([[3, 4, 5, 6], [3, 4, 5, 7]])), "all").unflatten(0, (2, 4))
    assert ((changed[0] - changed[1]).abs().amax(1) > 1e-6).all()


def test_a_history_of_hidden_items_only_stays_finite() -> None:
    assert encoder().encode(*tensors(Packed.of([[0], [0, 0]])), "all").isfinite().all()


def test_gradients_of_a_block_are_those_of_its_values() -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 4, "heads": 2, "inner_size": 8, "max_length": 9}
    frequencies = Frequencies(3, 0.4, causal=True)
    block = Block(**sizes, dropout=0.0, attention_dropout=0.0, frequencies=frequencies).double()
    plan = layout(torch.tensor([0, 2, 5]), torch.device("cpu"), 9)
    for last_only in (False, True):
        x = torch.randn(len(plan.order), 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, only=last_only: block(x, plan, None, only), x)


@pytest.mark.parametrize("kept", [-1, 0, 2, 20, 21])
def test_frequencies_that_are_none(kept: int) -> None:
    with pytest.raises(ValueError, match="should be an odd number, at most the 20 places"):
        FrequencyFilter(SIZE, WINDOW, kept, causal=True)
