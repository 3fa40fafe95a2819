"""Contrast of all states of two views of a history, side by side in one row, as CoSeRec and those after it have it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mclrec.data.batches import Histories
from mclrec.losses.contrastive import ViewPairs
from mclrec.models.phases import StepContext
from mclrec.nn.packing import flatten_newest, states_in_parts

__all__ = ["ALL_STATES", "contrast_of_all_states"]

ALL_STATES = "its contrast takes all states of packed histories"
"""What models say in `SequentialRecommender.varies` whose losses need more than the last state of a history."""


def contrast_of_all_states(
    states: Sequence[Tensor],
    views: Sequence[Histories],
    max_length: int,
    context: StepContext,
    temperature: float = 1.0,
) -> ViewPairs:
    """Contrast two views by all their states. Places that a history does not have are zeros.

    Most places are such: in one process they are not multiplied. Several gather whole rows.

    Args:
        states: (T_v, d) of each view.
        views: the two.
        max_length: n, no history of a view is longer.
        context: collects the rows of all processes.
        temperature: what inner products are divided by.
    """
    packed = [(of_view, view.offsets) for of_view, view in zip(states, views, strict=True)]
    if context.alone:
        return ViewPairs.of_parts(states_in_parts(packed), ((0, 1),), temperature)
    rows = [context.gather(flatten_newest(*of_view, max_length)) for of_view in packed]
    return ViewPairs.of(rows, ((0, 1),), temperature)
