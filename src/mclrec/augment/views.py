"""Two views of each sequence, made by randomly drawn operators (paper, section 3.1.1, eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mclrec.augment.operators import Crop, Mask, Operator, Reorder
from mclrec.data.packed import IntArray, Packed
from mclrec.errors import ConfigError

__all__ = ["TwoViews", "TwoViewsByLength", "apply_chosen"]


@dataclass(frozen=True, slots=True)
class TwoViews:
    """Draws for each sequence an ordered pair of different operators, uniformly, and applies them.

    Attributes:
        operators: two or more.
    """

    operators: Sequence[Operator]

    def __post_init__(self) -> None:
        if len(self.operators) < 2:
            raise ConfigError(f"two views need two different operators; {len(self.operators)} given")

    @classmethod
    def of_ratios(cls, crop: float, mask: float, reorder: float, token: int = 0) -> TwoViews:
        """Views by crop, mask with ``token`` (see `Mask`) and reorder."""
        return cls((Crop(crop), Mask(mask, token), Reorder(reorder)))

    def __call__(self, batch: Packed, rng: np.random.Generator) -> tuple[Packed, Packed]:
        """First and second views of B sequences, in the batch's order."""
        size = len(batch)
        first = rng.integers(len(self.operators), size=size)
        second = (first + rng.integers(1, len(self.operators), size=size)) % len(self.operators)
        return _apply_twice(self.operators, first, second, batch, rng)


@dataclass(frozen=True, slots=True)
class TwoViewsByLength:
    """Draws two operators for each sequence, which may be the same, and applies them; short sequences have fewer.

    Attributes:
        operators: long sequences draw from all, short ones from the first ``for_short``.
        for_short: number of operators that short sequences draw from.
        short: length up to which a sequence is short.
    """

    operators: Sequence[Operator]
    for_short: int
    short: int

    def __call__(self, batch: Packed, rng: np.random.Generator) -> tuple[Packed, Packed]:
        """First and second views of B sequences, in the batch's order."""
        choices = np.where(batch.lengths <= self.short, self.for_short, len(self.operators))
        first, second = (rng.integers(0, choices) for _ in range(2))
        return _apply_twice(self.operators, first, second, batch, rng)


def _apply_twice(
    operators: Sequence[Operator], first: IntArray, second: IntArray, batch: Packed, rng: np.random.Generator
) -> tuple[Packed, Packed]:
    """Make both views as one batch of 2B sequences, so that each operator runs once."""
    size, tokens = len(batch), len(batch.items)
    twice = Packed(np.tile(batch.items, 2), np.concatenate([batch.offsets, batch.offsets[1:] + tokens]))
    views = apply_chosen(operators, np.concatenate([first, second]), twice, rng)
    middle = views.offsets[size]
    return (
        Packed(views.items[:middle], views.offsets[: size + 1]),
        Packed(views.items[middle:], views.offsets[size:] - middle),
    )


def apply_chosen(
    operators: Sequence[Operator], choice: IntArray, batch: Packed, rng: np.random.Generator
) -> Packed:
    """Augment each sequence with the operator chosen for it.

    Args:
        operators: to choose from.
        choice: (B,) index of each sequence's operator.
        batch: B sequences.
        rng: used by the operators one after the other.

    Returns:
        B sequences, in the batch's order.
    """
    grouped = np.argsort(choice, kind="stable")
    bounds = np.searchsorted(choice[grouped], np.arange(len(operators) + 1))
    parts = [
        operator(batch.take(grouped[start:stop]), rng)
        for operator, start, stop in zip(operators, bounds[:-1], bounds[1:], strict=True)
    ]
    lengths = np.concatenate([part.lengths for part in parts])
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Packed(np.concatenate([part.items for part in parts]), offsets).take(np.argsort(grouped))
