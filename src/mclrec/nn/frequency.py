"""Frequency filter of BSARec (Shin et al., AAAI 2024), on packed histories; blocks use it beside self-attention.

The paper pads each history at its beginning to n places, keeps the lowest c frequencies of its Fourier transform (c is
odd: the constant, and m = (c - 1) / 2 waves of both signs), and transforms back. All of this is linear and does not
depend on where a history begins: it is a circular convolution. The output at place i is the sum over all places j of
h(i - j) x_j with

    h(k) = (1 + 2 sum_{f = 1..m} cos(2 pi f k / n)) / n = sin(pi c k / n) / (n sin(pi k / n)),    h(0) = c / n,

which is even and has period n. If padding holds zeros, an item's output is therefore a sum over the items of its own
history, weighted by distance, and neither padding nor a transform is needed.

The newest item stands at the last place and weighs itself and the items before it by h(0), h(1), .... A causal
convolution with these weights thus gives every item of a history what the paper's filter gives it in the prefix that
ends with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mclrec.nn.packing import Layout, distances_to_last, take

__all__ = ["Frequencies", "FrequencyFilter"]


@dataclass(frozen=True, slots=True)
class Frequencies:
    """Settings of a frequency filter beside attention.

    Attributes:
        kept: c, number of lowest frequencies that are kept, counting waves of both signs: an odd number up to n.
        alpha: share of the filter in its sum with attention.
        causal: whether the filter shows an item only what attention shows it, as is required if every item predicts the
            next one; otherwise an item sees all of its history.
    """

    kept: int
    alpha: float
    causal: bool


class FrequencyFilter(nn.Module):
    """Low frequencies of a history, plus the others times beta, the square of a learned number for each channel.

    A hidden item counts as padding: its place holds zeros.

    Args:
        hidden_size: d.
        window: n, the number of places that the transform covers; no history is longer.
        kept: c, odd and at most n.
        causal: whether an item sees only what attention shows it; otherwise it sees all of its history.
    """

    def __init__(self, hidden_size: int, window: int, kept: int, causal: bool) -> None:
        super().__init__()
        if kept % 2 == 0 or not 0 < kept <= window:
            raise ValueError(
                f"{kept} frequencies: should be an odd number, at most the {window} places of a history"
            )
        self.window, self.kept, self.causal = window, kept, causal
        self.sqrt_beta = nn.Parameter(torch.randn(hidden_size))

    def forward(self, x: Tensor, plan: Layout, hidden: Tensor | None, last_only: bool) -> Tensor:
        """Filter packed tokens.

        Args:
            x: (S, d) in the layout's order.
            plan: the layout.
            hidden: (S,) which tokens count as padding; None for none.
            last_only: whether only the last token of each history is wanted.

        Returns:
            (S, d), or (B, d) of the last tokens.
        """
        seen = x if hidden is None else x.masked_fill(hidden[:, None], 0)
        if last_only:
            return self._emphasise(take(x, plan.last), self._low_of_last(seen, plan))
        return self._emphasise(x, self._low(seen, plan))

    def padded(self, x: Tensor, future: Tensor, hidden: Tensor) -> Tensor:
        """Filter padded tokens (B, L, d), where ``hidden`` ones (B, L) count as padding.

        ``future`` (L, L) marks the keys (second dimension) that attention hides from each query (first dimension).
        """
        between = self._between(x.shape[1], self.taps(x))
        if self.causal:
            between = between.masked_fill(future.mT, 0)
        return self._emphasise(x, between.mT @ x.masked_fill(hidden[..., None], 0))

    def taps(self, like: Tensor) -> Tensor:
        """(n,) h(0), h(1), ..., h(n - 1), on the device and in the precision of a tensor, but no less than fp32."""
        distances = torch.arange(self.window, device=like.device)
        nearest = torch.minimum(distances, self.window - distances)  # h is periodic, sines near pi inexact
        turn = math.pi / self.window
        wide = torch.promote_types(like.dtype, torch.float32)
        waves = (turn * (nearest * self.kept % (2 * self.window)).to(wide)).sin()
        ratios = waves / (turn * nearest.clamp(min=1).to(wide)).sin()
        return torch.where(nearest == 0, self.kept, ratios) / self.window

    def _emphasise(self, x: Tensor, low: Tensor) -> Tensor:
        """Low frequencies plus beta times the others."""
        return low + self.sqrt_beta.square() * (x - low)

    def _between(self, length: int, taps: Tensor) -> Tensor:
        """(L, L) weight of each token of a block (first dimension) in the output of another (second dimension)."""
        places = torch.arange(length, device=taps.device)
        apart = (
            (places - places[:, None]).abs().clamp(max=self.window - 1)
        )  # those farther apart are of different histories
        return taps.index_select(0, apart.flatten()).view(length, length)

    def _low(self, x: Tensor, plan: Layout) -> Tensor:
        """Low frequencies (S, d) of all tokens, block by block."""
        taps, parts = self.taps(x), []
        with torch.autocast(x.device.type, enabled=False):
            for group in plan.groups:
                seen = group.own == 0
                if not self.causal:
                    seen = seen | seen.mT  # all of the token's history
                weights = self._between(group.length, taps) * seen
                block = x[group.start : group.stop].view(-1, group.length, x.shape[1])
                parts.append(torch.bmm(weights.mT.to(x.dtype), block).flatten(0, 1))
            return torch.cat([*parts, x.new_zeros(len(x) - sum(map(len, parts)), x.shape[1])])

    def _low_of_last(self, x: Tensor, plan: Layout) -> Tensor:
        """Low frequencies (B, d) of the last token of each history."""
        weights = self.taps(x).index_select(0, distances_to_last(plan)).to(x.dtype)
        weighted = take(x, plan.inverse) * weights[:, None]
        owners = plan.owners.index_select(0, plan.inverse)
        return x.new_zeros(len(plan.last), x.shape[1]).index_add(0, owners, weighted)
