"""Table 3: all systems, on the same footing."""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.experiments.cells import Cell
from mclrec.experiments.frame import Entry, Measurement
from mclrec.experiments.paper import paper_protocol, table3
from mclrec.experiments.target import Scope, Target

__all__ = ["TARGET"]

_MODELS = (
    "popularity",
    "recency",
    "markov",
    "bpr",
    "gru4rec",
    "caser",
    "sasrec",
    "bert4rec",
    "s3rec",
    "cl4srec",
    "coserec",
    "lma4rec",
    "iclrec",
    "duorec",
    "srma",
    "mclrec",
)


def _entries(scope: Scope) -> Sequence[Entry]:
    return [scope.entry(Cell(data, model), model) for data in scope.datasets for model in scope.models]


def _paper(found: Measurement) -> float | None:
    if found.protocol != paper_protocol(found.row):
        return None
    return table3().get((found.data, found.row, found.metric))


TARGET = Target(
    "table3",
    "Performance of all systems",
    "table 3",
    _entries,
    models=_MODELS,
    paper=_paper,
    notes=(
        "In brackets, the paper's value, under its protocol: U for MCLRec and DuoRec, F for all others.",
        "The paper shows values under both side by side; they are not comparable.",
    ),
)
