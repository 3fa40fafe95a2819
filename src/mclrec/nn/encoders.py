"""Base class of sequence encoders, and the encoders that are not transformers: GRU and dilated convolutions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mclrec.data.batches import to_device
from mclrec.nn.dropout import Dropout
from mclrec.nn.items import ItemEmbedding
from mclrec.nn.packing import last_of_padded, take
from mclrec.shapes import round_up

__all__ = ["ConvolutionEncoder", "Encoder", "GRUEncoder"]

_Earlier = Callable[[Tensor, int], Tensor]


class Encoder(nn.Module, ABC):
    """Base of the networks that read histories: item embedding, dropout, and a packed and a padded forward pass.

    Args:
        num_items: V; the embedding has V + 2 rows: padding, items, mask.
        max_length: n, the longest history.
        hidden_size: d, of item vectors and outputs.
        dropout: rate after the embedding.
    """

    trains_padded: ClassVar[bool] = True
    """Whether `forward` is suitable for training too: it has the precision of `encode`, and a fixed shape if needed."""

    def __init__(self, num_items: int, max_length: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.max_length = max_length
        self.items = ItemEmbedding(num_items, hidden_size)
        self.dropout = Dropout(dropout)

    def inputs(self, items: Tensor) -> Tensor:
        """Vectors of items after dropout; zeros for id 0, whose vector was learned only as a class of the softmax.

        Args:
            items: ids, of any shape.

        Returns:
            (*items.shape, d).
        """
        vectors: Tensor = self.items(items)
        out: Tensor = self.dropout(vectors * (items != 0).unsqueeze(-1).to(vectors.dtype))
        return out

    @abstractmethod
    def encode(self, items: Tensor, offsets: Tensor, outputs: Literal["last", "all"] = "last") -> Tensor:
        """Hidden states of packed histories, none of them empty and none longer than n.

        Args:
            items: (T,) item ids.
            offsets: (B + 1,) on the host.
            outputs: whether to return the state of each history's last token, or of every token.

        Returns:
            (B, d) or (T, d), in the order of the input.
        """

    def encode_padding(self, items: Tensor, offsets: Tensor) -> Tensor:
        """Hidden states of all places of histories that are padded to n, as if padding were hidden items.

        Args:
            items: (B n,), 0 for padding, which is on either side, and for hidden items.
            offsets: (B + 1,) on the host.

        Returns:
            (B n, d).
        """
        return self.encode(items, offsets, "all")

    @abstractmethod
    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Last hidden states of left-aligned, zero-padded histories: for export, and for training in one fixed shape.

        Args:
            items: (B, L) item ids, zeros after each history's end.
            lengths: (B,) at least 1.

        Returns:
            (B, d).
        """


class GRUEncoder(Encoder):
    """GRU encoder, as in GRU4Rec (Hidasi et al., ICLR 2016): item embedding, dropout, recurrent layers.

    A linear layer maps states back to the size of item vectors. An item with id 0 is an input of zeros, which still
    takes a step.

    Args:
        num_items: V; the embedding has V + 2 rows: padding, items, mask.
        max_length: n, the longest history.
        hidden_size: d, of item vectors and outputs.
        layers: recurrent layers.
        inner_size: size of the recurrent state.
        dropout: rate after the embedding.
    """

    trains_padded = False  # torch's GRU supports a single precision, which only `encode` ensures

    def __init__(
        self,
        *,
        num_items: int,
        max_length: int = 50,
        hidden_size: int = 64,
        layers: int = 1,
        inner_size: int = 128,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(num_items, max_length, hidden_size, dropout)
        self.items.draw(0.02)
        self.gru = nn.GRU(hidden_size, inner_size, layers, batch_first=True)
        self.out = nn.Linear(inner_size, hidden_size)

    def encode(self, items: Tensor, offsets: Tensor, outputs: Literal["last", "all"] = "last") -> Tensor:
        """States of packed histories; implements `Encoder.encode`."""
        x = self.inputs(items)
        if not len(items):  # torch refuses an empty input
            # Of the right size, and computed from the vectors, so that a backward pass reaches them.
            nothing: Tensor = self.out(x.sum(1, keepdim=True).expand(0, self.gru.hidden_size))
            return nothing
        order, inverse, sizes = _by_time(offsets)
        x = take(x, to_device(order, items.device))
        with torch.autocast(items.device.type, enabled=False):  # torch's GRU supports a single precision
            states = _recurrence(self.gru, x.to(self.out.weight.dtype), sizes)
        places = inverse if outputs == "all" else inverse[offsets[1:] - 1]
        states, count = take(states, to_device(places, items.device)), len(places)
        states = F.pad(states, (0, 0, 0, round_up(count, 16) - count))  # few shapes, see mclrec.shapes
        out: Tensor = self.out(states)
        return out[:count]

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Last states of padded histories; implements `Encoder.forward`."""
        # What follows a history's end changes nothing before it.
        states, _ = self.gru(self.inputs(items))
        out: Tensor = self.out(last_of_padded(states, lengths))
        return out


class ConvolutionEncoder(Encoder):
    """Convolutional encoder, as in NextItNet (Yuan et al., WSDM 2019): item embedding, dropout, residual blocks.

    A block has two dilated causal convolutions of three taps. Dilations double from one convolution to the next, so
    that two blocks see the latest 31 items. An item with id 0 is an input of zeros.

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
        super().__init__(num_items, max_length, hidden_size, dropout)
        self.items.draw(0.02)
        self.convolutions = nn.ModuleList(nn.Linear(3 * hidden_size, hidden_size) for _ in range(2 * layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(2 * layers))

    def encode(self, items: Tensor, offsets: Tensor, outputs: Literal["last", "all"] = "last") -> Tensor:
        """Outputs of packed histories; implements `Encoder.encode`."""
        bounds = offsets.numpy()
        times = np.arange(bounds[-1]) - np.repeat(bounds[:-1], np.diff(bounds))

        def earlier(x: Tensor, steps: int) -> Tensor:
            # Place 0 holds zeros and stands for all places before the first item.
            places = np.where(times >= steps, np.arange(len(times)) - steps + 1, 0)
            return F.pad(x, (0, 0, 1, 0)).index_select(0, to_device(torch.from_numpy(places), x.device))

        x = self._blocks(self.inputs(items), earlier)
        return x if outputs == "all" else take(x, to_device(offsets[1:] - 1, x.device))

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Last outputs of padded histories; implements `Encoder.forward`."""

        def earlier(x: Tensor, steps: int) -> Tensor:
            return F.pad(x, (0, 0, steps, 0))[:, : x.shape[1]]

        return last_of_padded(self._blocks(self.inputs(items), earlier), lengths)

    def _blocks(self, x: Tensor, earlier: _Earlier) -> Tensor:
        """Apply all residual blocks; ``earlier(x, steps)`` returns the rows ``steps`` (at most n) before each token."""
        pairs = list(zip(self.convolutions, self.norms, strict=True))
        for number in range(0, len(pairs), 2):
            inside = x
            for place in (number, number + 1):
                convolution, norm = pairs[place]
                far, near = (
                    min(steps << place, self.max_length) for steps in (2, 1)
                )  # nothing is further back
                taps = [earlier(inside, far), earlier(inside, near), inside]
                inside = F.relu(norm(convolution(torch.cat(taps, -1))))
            x = x + self.dropout(inside)
        return x


def _recurrence(gru: nn.GRU, x: Tensor, sizes: Tensor) -> Tensor:
    """GRU states (T, h) of inputs in the order of `_by_time`, identical to torch's own.

    On a CPU, torch slices the inputs of each step out of all inputs, and the backward pass of a slice fills a tensor of
    the full size with zeros, at every step. Splitting the inputs once takes two fifths of the time.

    Args:
        gru: the module whose weights are used.
        x: (T, d).
        sizes: number of histories in each step, in descending order.
    """
    if x.device.type != "cpu" or not torch.is_grad_enabled():
        states: Tensor = gru(PackedSequence(x, sizes))[0].data
        return states
    steps = sizes.tolist()
    for from_input, from_state, input_bias, state_bias in gru.all_weights:
        state, states_of_layer = x.new_zeros(steps[0], gru.hidden_size), list[Tensor]()
        for gates in F.linear(x, from_input, input_bias).split(steps):
            if len(gates) < len(state):
                state = state[: len(gates)]
            reset, update, new = gates.unsafe_chunk(3, 1)
            state_reset, state_update, state_new = F.linear(state, from_state, state_bias).unsafe_chunk(3, 1)
            # In place where torch is: how a sigmoid rounds depends on the memory layout of its input.
            reset = state_reset.add_(reset).sigmoid_()
            new = new.add(state_new.mul_(reset)).tanh_()
            state = (state - new).mul_(state_update.add_(update).sigmoid_()).add_(new)
            states_of_layer.append(state)
        x = torch.cat(states_of_layer)
    return x


def _by_time(offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Reorder packed tokens for torch's RNNs: all first tokens, all second ones and so on, the longest history first.

    Returns:
        Order (T,), its inverse (T,), and how many histories have a first token, a second one and so on; on the host.
    """
    bounds = offsets.numpy()
    lengths = np.diff(bounds)
    ranks = np.empty_like(lengths)
    ranks[np.argsort(-lengths, kind="stable")] = np.arange(len(lengths))
    times = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
    order = np.lexsort((np.repeat(ranks, lengths), times))
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return torch.from_numpy(order), torch.from_numpy(inverse), torch.from_numpy(np.bincount(times))
