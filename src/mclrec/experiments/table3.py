"""Table 3: all systems, on the same footing."""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.evaluation.protocol import RankTable
from mclrec.experiments.cells import Cell, Cells, data_name
from mclrec.experiments.contrast import by_repeat, improvement
from mclrec.experiments.frame import Entry, Measurement
from mclrec.experiments.paper import paper_protocol, table3
from mclrec.experiments.sheet import Sheet
from mclrec.experiments.target import Scope, Target
from mclrec.runs.run import LABELS

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


def _further(cells: Cells, entries: Sequence[Entry]) -> list[Sheet]:
    """MCLRec against the best of the others; targets that are in the history already, and those that are not."""
    sheets = []
    for data in dict.fromkeys(entry.data for entry in entries):
        ranks = {
            label: {
                entry.row: found
                for entry in entries
                if entry.data == data and (found := _ranks(cells, entry, label))
            }
            for label in LABELS
        }
        sheets += [
            improvement(
                f"MCLRec against the best of the others on {data_name(data)}, {label}", ranks[label], "mclrec"
            )
            for label in LABELS
            if "mclrec" in ranks[label] and len(ranks[label]) > 1
        ]
        if any(tables[0].in_history.any() for tables in ranks["U"].values()):
            sheets.append(
                by_repeat(f"Targets that are in the history already, on {data_name(data)}, U", ranks["U"])
            )
    return sheets


def _ranks(cells: Cells, entry: Entry, label: str) -> list[RankTable]:
    return [cells.run(cell).ranks("test", label) for cell in entry.cells if cells.done(cell)]


TARGET = Target(
    "table3",
    "Performance of all systems",
    "table 3",
    _entries,
    models=_MODELS,
    paper=_paper,
    further=_further,
    notes=("The paper has MCLRec and DuoRec under U and all others under F; the two are not comparable.",),
)
