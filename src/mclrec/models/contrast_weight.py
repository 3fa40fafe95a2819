"""Weight of a contrast if a training example is a whole sequence, which has many targets but only one contrast.

L_rec is a mean over targets, and a contrast is a mean over histories. With prefixes these are the same. In whole
sequences, a history has as many targets as items, so that the same weight would make a contrast count as much as the
loss of a few targets on one log and of a hundred on another. Divided by the number of targets of a history, it has the
same meaning everywhere: it is relative to the loss of one target.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mclrec.configuration import Before
from mclrec.data.batches import Batch
from mclrec.models.model_config import OnlyWith

__all__ = ["ContrastBy", "ContrastByLater", "contrast_share"]

ContrastBy = Annotated[
    Literal["target", "history"],
    OnlyWith(unit=("sequences", "windows")),
    Field(
        description="what the weight of a contrast is relative to: the loss of one target, or of a whole history"
    ),
]
"""Type of the setting ``contrast_by`` of models with a contrast between histories."""

ContrastByLater = Annotated[ContrastBy, Before("history")]
"""The same for models that got the setting after their first runs, which count as ``history``."""


def contrast_share(by: Literal["target", "history"], batch: Batch) -> float:
    """Weight of a history's contrast relative to the mean loss of a target, in units of the configured weight.

    Args:
        by: the setting.
        batch: gives the mean number of targets per history in the epoch.
    """
    return 1.0 if by == "history" else 1 / batch.targets_per_row
