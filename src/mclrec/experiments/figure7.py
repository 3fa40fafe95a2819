"""Figure 7: random items in the histories that the test is foreseen from."""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.experiments.cells import Cell, noisy_part
from mclrec.experiments.frame import Entry
from mclrec.experiments.target import Scope, Target

__all__ = ["TARGET"]

_SHARES = (0.05, 0.1, 0.15, 0.2, 0.3)


def _entries(scope: Scope) -> Sequence[Entry]:
    return [
        scope.entry(Cell(data, model, noise=_SHARES), model, share, noisy_part(share) if share else "test")
        for data in scope.datasets
        for model in scope.models
        for share in (0.0, *_SHARES)
    ]


TARGET = Target(
    "figure7",
    "Noise in the test histories",
    "figure 7",
    _entries,
    models=("sasrec", "cl4srec", "iclrec", "duorec", "srma", "mclrec"),
    kind="lines",
    x="share of random items",
    metrics=("HR@20", "NDCG@20"),
    notes=(
        "The noise of a share is the same for all models and seeds. Short histories get none: floor(share * n).",
    ),
)
