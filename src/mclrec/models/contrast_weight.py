"""What the weight of a contrast means where a whole sequence is an example, which has many targets but one contrast.

L_rec is a mean over targets and a contrast one over histories. After prefixes these are the same. In whole sequences a
history has as many targets as it has items, so that the same weight would count a contrast as much as the loss of a few
targets on one log and of a hundred on another. Divided by the targets of a history it means the same everywhere: so
many targets' worth.
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
        description="what weights of the contrast weigh a row of it against: the loss of one target, or of a history"
    ),
]
"""The setting of models with a contrast of histories."""

ContrastByLater = Annotated[ContrastBy, Before("history")]
"""The same of models that had it later than their first runs."""


def contrast_share(by: Literal["target", "history"], batch: Batch) -> float:
    """Weight of a history's contrast beside the mean loss of a target, in units of the weight that is set.

    Args:
        by: the setting.
        batch: whose epoch says how many targets a history has.
    """
    return 1.0 if by == "history" else 1 / batch.targets_per_row
