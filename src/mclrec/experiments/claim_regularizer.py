"""The claim of section 4.3 that R makes CL4SRec and DuoRec worse: R is made for learnable augmenters."""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.experiments.cells import Cell
from mclrec.experiments.frame import Entry
from mclrec.experiments.target import Scope, Target

__all__ = ["TARGET"]

_GAMMA = 0.01
"""As in MCLRec, a tenth of the weight of the contrast, which is .1 in both."""


def _entries(scope: Scope) -> Sequence[Entry]:
    return [
        scope.entry(Cell(data, model, settings=settings), model + note)
        for data in scope.datasets
        for model in ("cl4srec", "duorec")
        for note, settings in (("", {}), (" with R", {"gamma": _GAMMA}))
    ]


TARGET = Target(
    "claim-regularizer",
    "R in CL4SRec and DuoRec",
    "section 4.3",
    _entries,
    metrics=("HR@20", "NDCG@20"),
    notes=("R is that of the official code, on the pairs that the model contrasts, with gamma = .01.",),
)
