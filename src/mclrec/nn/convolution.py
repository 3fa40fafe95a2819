"""Dilated causal convolutions over packed histories, as in NextItNet (Yuan et al., WSDM 2019)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mclrec.nn.dropout import Dropout
from mclrec.nn.items import ItemEmbedding
from mclrec.nn.packing import last_of_padded, take

__all__ = ["ConvolutionEncoder"]

_Earlier = Callable[[Tensor, int], Tensor]


class ConvolutionEncoder(nn.Module):
    """Convolutional encoder: item embedding, dropout, then residual blocks of two causal convolutions of three taps.

    Dilations double from one convolution to the next, so that two blocks see 31 items back. An item with id 0 is an
    input of zeros.

    Args:
        num_items: V; the embedding has V + 2 rows: padding, items, mask.
        max_length: n, the longest history.
        hidden_size: d.
        layers: residual blocks.
        dropout: rate after the embedding and after each block.
    """

    def __init__(
        self,
        *,
        num_items: int,
        max_length: int = 50,
        hidden_size: int = 64,
        layers: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.max_length = max_length
        self.items = ItemEmbedding(num_items, hidden_size)
        self.items.draw(0.02)
        self.dropout = Dropout(dropout)
        self.convolutions = nn.ModuleList(nn.Linear(3 * hidden_size, hidden_size) for _ in range(2 * layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(2 * layers))

    def encode(self, items: Tensor, offsets: Tensor, outputs: Literal["last", "all"] = "last") -> Tensor:
        """Hidden states of packed histories, none of them empty.

        Args:
            items: (T,) item ids.
            offsets: (B + 1,) on the host.
            outputs: the last token's state of each history, or every token's.

        Returns:
            (B, d) or (T, d), in the order of the input.
        """
        bounds = offsets.numpy()
        times = np.arange(bounds[-1]) - np.repeat(bounds[:-1], np.diff(bounds))

        def earlier(x: Tensor, steps: int) -> Tensor:
            # Place 0 holds zeros, for what was before the first item.
            places = np.where(times >= steps, np.arange(len(times)) - steps + 1, 0)
            return F.pad(x, (0, 0, 1, 0)).index_select(0, torch.from_numpy(places).to(x.device))

        x = self._blocks(self.dropout(self.items(items)), earlier)
        return x if outputs == "all" else take(x, offsets[1:].to(x.device) - 1)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Last hidden states of left-aligned, zero-padded histories: the form that is exported.

        Args:
            items: (B, L) item ids, zeros after each history's end.
            lengths: (B,) at least 1.

        Returns:
            (B, d).
        """

        def earlier(x: Tensor, steps: int) -> Tensor:
            return F.pad(x, (0, 0, steps, 0))[:, : x.shape[1]]

        return last_of_padded(self._blocks(self.dropout(self.items(items)), earlier), lengths)

    def _blocks(self, x: Tensor, earlier: _Earlier) -> Tensor:
        """Apply all residual blocks; ``earlier(x, steps)`` gives each token's predecessor ``steps`` back."""
        pairs = list(zip(self.convolutions, self.norms, strict=True))
        for number in range(0, len(pairs), 2):
            inside = x
            for place in (number, number + 1):
                convolution, norm = pairs[place]
                taps = [earlier(inside, 2 << place), earlier(inside, 1 << place), inside]
                inside = F.relu(norm(convolution(torch.cat(taps, -1))))
            x = x + self.dropout(inside)
        return x
