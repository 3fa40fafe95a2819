"""Where a contrast helps: encoders alone and with the contrasts of three papers. This table is our own, of no paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mclrec.errors import ConfigError
from mclrec.evaluation.effects import Effect, nested_bootstrap
from mclrec.evaluation.metrics import FloatArray, Metric
from mclrec.evaluation.significance import Interval, p_text
from mclrec.experiments.data_names import data_name
from mclrec.experiments.paper_tables import ranks_of, values_of
from mclrec.experiments.planned_runs import PlannedRun, RunStore
from mclrec.experiments.results_table import Measurement, PlannedRow, ResultTable, TableCell
from mclrec.experiments.target import Further, Scope, Target
from mclrec.randomness import Stream, generator
from mclrec.runs.run import LABELS

__all__ = ["ENCODER_TABLES"]

_RELATIVE: Mapping[str, Any] = {"norm": "pre", "positions": "relative", "alpha": 0.0}
_FILTER: Mapping[str, Any] = {**_RELATIVE, "alpha": 0.7}
_ENCODERS: Mapping[str, Mapping[str, Any]] = {
    "post-norm": {"norm": "post", "positions": "oldest", "alpha": 0.0},
    "relative": _RELATIVE,
    "filter": _FILTER,
    "HSTU": {"encoder": "hstu"},
    "GRU": {"encoder": "gru"},
    "convolution": {"encoder": "convolution"},
    "wide filter": {**_FILTER, "hidden_size": 128},
}
"""Settings of each encoder; the first three and the last one are transformers."""

_ALONE = "alone"
_CONTRASTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    _ALONE: ("cl4srec", {"lambda": 0.0}),
    "CL4SRec": ("cl4srec", {}),
    "DuoRec": ("duorec", {}),
    "MCLRec, two updates": ("mclrec", {"updates": "two"}),
    "MCLRec, three updates": ("mclrec", {"updates": "three"}),
}
"""Model and settings of each contrast, which can be combined with any encoder."""
_CONTRASTING = tuple(dict.fromkeys(model for model, _ in _CONTRASTS.values()))

_METRIC = Metric("ndcg", 20)
_CHANGE = f"change of {_METRIC}"
"""Relative change due to a contrast, compared with the encoder alone."""

_TEST = "p is two-sided, against the encoder alone: a nested bootstrap over users and, where there are several, seeds."


def _rows(scope: Scope) -> Sequence[PlannedRow]:
    for model in scope.models:
        if model not in _CONTRASTING:
            raise ConfigError(
                f"encoders compares the contrasts of {', '.join(_CONTRASTING)}, beside each encoder alone: "
                f"leave {model} out of --models"
            )
    return [
        scope.row(PlannedRun(data, model, settings={**settings, **contrast}), f"{encoder}, {name}")
        for data in scope.datasets
        for encoder, settings in _ENCODERS.items()
        for name, (model, contrast) in _CONTRASTS.items()
        if name == _ALONE or model in scope.models
    ]


def _by_encoder(rows: Sequence[PlannedRow]) -> dict[str, dict[str, dict[str, PlannedRow]]]:
    """The rows by data, encoder and contrast."""
    found: dict[str, dict[str, dict[str, PlannedRow]]] = {}
    for row in rows:
        encoder, _, contrast = row.row.partition(", ")
        found.setdefault(row.data, {}).setdefault(encoder, {})[contrast] = row
    return found


class _Cell(NamedTuple):
    """Result of an encoder with a contrast, or alone.

    Attributes:
        mean: mean of the metric.
        effect: effect of the contrast; None for the encoder alone, and until that is trained.
    """

    mean: float
    effect: Effect | None

    @property
    def text(self) -> str:
        """The mean and, with a contrast, its relative change and p-value."""
        if self.effect is None:
            return f"{self.mean:.4f}"
        change = self.effect.relative
        return f"{self.mean:.4f} ({f'{change.mean:+.1%}' if change else '-'}, {p_text(self.effect.p)})"


def _effects(store: RunStore, rows: Sequence[PlannedRow]) -> Further:
    """Effect of each contrast on each encoder: a table per data set and protocol, and measurements."""
    tables: list[ResultTable] = []
    changes: list[Measurement] = []
    places = _by_encoder(rows)
    for data, encoders in places.items():
        contrasts = next(iter(encoders.values()))
        for label in LABELS:
            found = {encoder: _cells(store, parts, label) for encoder, parts in encoders.items()}
            tables.append(
                ResultTable(
                    f"What a contrast adds on {data_name(data, places)}, {label}: {_METRIC}, its change and p",
                    ["encoder", *contrasts],
                    [
                        (encoder, [_shown(cells.get(name)) for name in contrasts])
                        for encoder, cells in found.items()
                    ],
                    [_TEST],
                )
            )
            changes += [
                _change(store, encoders[encoder][name], label, cell.effect.relative)
                for encoder, cells in found.items()
                for name, cell in cells.items()
                if cell.effect and cell.effect.relative
            ]
    return Further(tables, changes)


def _cells(store: RunStore, contrasts: Mapping[str, PlannedRow], label: str) -> dict[str, _Cell]:
    """The cells of an encoder, by contrast, as far as there are finished runs."""
    ranks = {name: ranks_of(store, row, label) for name, row in contrasts.items()}
    values = {name: values_of(tables, str(_METRIC)) for name, tables in ranks.items() if tables}
    alone = values.get(_ALONE)
    return {name: _cell(found, None if name == _ALONE else alone) for name, found in values.items()}


def _cell(values: FloatArray, alone: FloatArray | None) -> _Cell:
    effect = None if alone is None else nested_bootstrap(values, alone, generator(0, Stream.BOOTSTRAP))
    return _Cell(float(values.mean()), effect)


def _shown(cell: _Cell | None) -> TableCell:
    return TableCell("-") if cell is None else TableCell(cell.text, value=cell.mean)


def _change(store: RunStore, row: PlannedRow, label: str, change: Interval) -> Measurement:
    done = [planned for planned in row.runs if store.is_complete(planned)]
    seeds, keys = tuple(one.seed for one in done), tuple(store.kept_key(one) for one in done)
    return Measurement(row.data, row.row, None, label, _CHANGE, *change, "users", seeds, keys)


ENCODER_TABLES = (
    Target(
        "encoders",
        "Where a contrast helps",
        "",
        _rows,
        models=_CONTRASTING,
        kind="changes",
        x="what a contrast adds",
        metrics=("HR@20", "NDCG@20"),
        drawn=(_CHANGE,),
        further=_effects,
        notes=(
            "An encoder alone is CL4SRec without its contrast.",
            "`filter` is `relative` with BSARec's filter, `wide filter` the same with a hidden size of 128.",
        ),
    ),
)
"""Tables of our own, which are in no paper."""
