"""Contrast between all states of two views of a history, side by side in one row, as in CoSeRec and its successors.

In the code of CoSeRec's authors, a history is padded to n before its oldest item, and the states of padding are part of
the row. Their attention lets padding see the whole history (`TransformerEncoder.encode_padding`), so that the row of a
short history consists mostly of states of padding. ``contrast = "padded"`` does the same, except that padding comes
after the newest item if positions count from the oldest. ``"all"`` leaves padding out, at a fraction of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from mclrec.configuration import Before
from mclrec.data.batches import Histories
from mclrec.losses.contrastive import ViewPairs
from mclrec.models.phases import StepContext
from mclrec.models.sequential import SequentialConfig, SequentialRecommender
from mclrec.nn.encoders import Encoder
from mclrec.nn.packing import flatten_newest, states_in_parts

__all__ = ["AllOrPadded", "AllStatesConfig", "AllStatesRecommender", "contrast_of_all_states"]

_ALL_STATES = "its contrast uses all states of packed histories"


AllOrPadded = Annotated[
    Literal["all", "padded"],
    Before("all"),
    Field(
        description="which states of a view are contrasted: all, or also those of padding, as in the authors' code"
    ),
]
"""Type of the setting ``contrast`` of models that never contrast the last states alone."""


class AllStatesConfig(SequentialConfig):
    """Base of configurations with a choice of which states are contrasted."""

    contrast: Literal["last", "all", "padded"]


class AllStatesRecommender(SequentialRecommender):
    """Base of models that contrast all states of views."""

    config: AllStatesConfig

    def varies(self) -> str:
        """Why steps differ in shape: all states are contrasted; implements `SequentialRecommender.varies`."""
        return super().varies() or ("" if self.config.contrast == "last" else _ALL_STATES)

    def contrasted(self, parts: Sequence[Histories]) -> list[Histories]:
        """Histories whose states are contrasted: ``parts`` as they are, or padded to n."""
        if self.config.contrast != "padded":
            return list(parts)
        align: Literal["left", "right"] = "left" if self.config.positions == "oldest" else "right"
        return [_padded(part, self.max_length, align) for part in parts]

    def all_states(self, parts: Sequence[Histories], encoder: Encoder | None = None) -> tuple[Tensor, ...]:
        """(T, d) states of all tokens of each of several batches, computed in one pass.

        Args:
            parts: the batches, from `contrasted`.
            encoder: used instead of the model's own.
        """
        encoder, together = encoder or self.encoder, Histories.concatenate(list(parts))
        if self.config.contrast == "padded":
            states = encoder.encode_padding(together.items, together.offsets)
        else:
            states = encoder.encode(together.items, together.offsets, "all")
        return torch.split(states, [len(part.items) for part in parts])


def contrast_of_all_states(
    states: Sequence[Tensor],
    views: Sequence[Histories],
    max_length: int,
    context: StepContext,
    temperature: float = 1.0,
) -> ViewPairs:
    """Contrast two views by all their states; places that a history does not fill are zeros.

    Most places are zeros: a single process does not multiply them, but several processes gather whole rows.

    Args:
        states: (T_v, d) of each view.
        views: the two.
        max_length: n, no history of a view is longer.
        context: collects the rows of all processes.
        temperature: divisor of the inner products.
    """
    packed = [(of_view, view.offsets) for of_view, view in zip(states, views, strict=True)]
    if context.alone:
        return ViewPairs.of_parts(states_in_parts(packed), ((0, 1),), temperature)
    rows = [context.gather(flatten_newest(*of_view, max_length)) for of_view in packed]
    return ViewPairs.of(rows, ((0, 1),), temperature)


def _padded(histories: Histories, length: int, align: Literal["left", "right"]) -> Histories:
    """The same histories, padded to a length with hidden items."""
    rows, _ = histories.padded(align, length)
    return Histories(histories.users, rows.flatten(), torch.arange(len(histories) + 1) * length)
