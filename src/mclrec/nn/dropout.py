"""Dropout whose masks come from a keyed random generator and are cheap on a CPU.

`torch.nn.functional.dropout` takes no generator, and drawing one Bernoulli number per unit is slower on a CPU than
the linear layer before it. At p = .5 one random bit per unit is enough; other rates use 16 bits.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Dropout", "Seeded", "seed_dropout"]

_RESOLUTION = 1 << 16


class Seeded(nn.Module):
    """Base of modules that draw random numbers in training, from a generator that `seed_dropout` sets.

    Attributes:
        for_batch: whether it draws once for a whole batch, and thus the same in all processes that share the batch.
    """

    generator: np.random.Generator | None = None
    for_batch: ClassVar[bool] = False


class Dropout(Seeded):
    """Zero each unit with probability ``p`` and scale the others by 1 / (1 - p), in training only.

    Without a generator (see `seed_dropout`), and on devices other than the CPU, torch's own dropout is used.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout rate {p} is not in [0, 1)")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        if x.device.type != "cpu" or self.generator is None:
            return F.dropout(x, self.p, self.training)
        mask = self.mask(x.shape, x)
        return x if mask is None else x * mask

    def mask(self, shape: tuple[int, ...], like: Tensor) -> Tensor | None:
        """Mask by which a tensor of this shape is multiplied; None if nothing is dropped."""
        if not self.training or self.p == 0:
            return None
        if like.device.type != "cpu" or self.generator is None:
            return F.dropout(like.new_ones(shape), self.p)
        return _mask(torch.Size(shape), self.p, like.dtype, self.generator)

    def extra_repr(self) -> str:
        """Dropout rate, for torch's printed form."""
        return f"p={self.p}"


def seed_dropout(
    model: nn.Module, generator: np.random.Generator, for_batch: np.random.Generator | None = None
) -> None:
    """Make all dropout of ``model`` draw from ``generator`` from now on, in the order of the forward pass.

    Args:
        model: the model.
        generator: generator of this process.
        for_batch: generator for what is drawn once for a whole batch, if processes share the batch.
    """
    for module in model.modules():
        if isinstance(module, Seeded):
            module.generator = for_batch if for_batch and module.for_batch else generator
    if any(parameter.is_cuda for parameter in model.parameters()):
        torch.cuda.manual_seed_all(int(generator.integers(1 << 62)))


def _mask(shape: torch.Size, p: float, dtype: torch.dtype, generator: np.random.Generator) -> Tensor:
    """Mask of the given shape with 0 for dropped and 1 / (1 - p) for kept units."""
    count = shape.numel()
    if p == 0.5:
        words = generator.integers(0, 1 << 64, size=-(-count // 64), dtype=np.uint64)
        kept, keep = np.unpackbits(words.view(np.uint8), count=count), 0.5
    else:
        dropped = min(round(p * _RESOLUTION), _RESOLUTION - 1)
        draws = generator.integers(0, _RESOLUTION, size=count, dtype=np.uint16)
        kept, keep = (draws >= dropped).view(np.uint8), 1 - dropped / _RESOLUTION
    return torch.from_numpy(kept).to(dtype).mul_(1 / keep).view(shape)
