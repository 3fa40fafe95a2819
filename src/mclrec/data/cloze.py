"""Cloze examples: masked items, to be predicted from the items on both sides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray, Packed, ranges

__all__ = ["append_mask", "cloze"]


def cloze(
    histories: Packed,
    ratio: float,
    mask: int,
    rng: np.random.Generator,
    *,
    last_only: npt.NDArray[np.bool_] | None = None,
    last_always: bool = False,
) -> tuple[Packed, IntArray]:
    """Mask each item with probability ``ratio``, but at least one item of each history.

    Args:
        histories: B histories, none of them empty.
        ratio: probability that an item is masked.
        mask: id of the mask.
        rng: random generator.
        last_only: (B,) whether only the last item of a history is masked.
        last_always: whether the last item of every history is masked in addition to the drawn ones.

    Returns:
        The histories with masks, and (T,) the masked items, 0 at all other positions.
    """
    lasts = histories.offsets[1:] - 1
    draws = rng.random(len(histories.items))
    hidden = draws < ratio
    if last_only is not None:
        hidden &= ~last_only[histories.rows]
        hidden[lasts[last_only]] = True
    if last_always:
        hidden[lasts] = True
    # If no draw of a history is below the ratio, the item with the lowest draw is masked.
    order = np.lexsort((draws, histories.rows))
    nearest = order[histories.offsets[:-1]]
    none = ~np.logical_or.reduceat(hidden, histories.offsets[:-1])
    hidden[nearest[none]] = True
    return (
        Packed(np.where(hidden, mask, histories.items), histories.offsets),
        np.where(hidden, histories.items, 0),
    )


def append_mask(histories: Packed, mask: int, max_length: int) -> Packed:
    """Append a mask to each history, of which at most the last ``max_length`` - 1 items are kept."""
    kept = np.minimum(histories.lengths, max_length - 1)
    offsets = np.concatenate([[0], np.cumsum(kept + 1)])
    items = np.full(offsets[-1], mask, dtype=np.int64)
    items[ranges(offsets[:-1], kept)] = histories.items[ranges(histories.offsets[1:] - kept, kept)]
    return Packed(items, offsets)
