"""Where a contrast helps: encoders, each alone and with the contrasts of three papers. A table of ours, of no paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mclrec.errors import ConfigError
from mclrec.evaluation.metrics import FloatArray, Metric
from mclrec.evaluation.significance import Comparison, paired_bootstrap
from mclrec.experiments.paper_tables import ranks_of, values_of
from mclrec.experiments.planned_runs import PlannedRun, RunStore, data_name
from mclrec.experiments.results_table import Measurement, PlannedRow, ResultTable, TableCell
from mclrec.experiments.target import Scope, Target
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
"""Model and settings of each contrast; any encoder can have them."""
_CONTRASTING = tuple(dict.fromkeys(model for model, _ in _CONTRASTS.values()))

_METRIC = Metric("ndcg", 20)
_CHANGE = f"change of {_METRIC}"
"""By a contrast, as a share of what the encoder has alone."""


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


def _gains(store: RunStore, rows: Sequence[PlannedRow]) -> list[ResultTable]:
    """What each contrast adds to each encoder, by a paired bootstrap over users and seeds."""
    return [
        ResultTable(
            f"What a contrast adds on {data_name(data)}, {label}: {_METRIC}, its change and p",
            ["encoder", *next(iter(encoders.values()))],
            [(encoder, _cells(store, contrasts, label)) for encoder, contrasts in encoders.items()],
            ["p is two-sided, by a paired bootstrap over users and seeds, against the encoder alone."],
        )
        for data, encoders in _by_encoder(rows).items()
        for label in LABELS
    ]


def _changes(store: RunStore, rows: Sequence[PlannedRow]) -> list[Measurement]:
    """The same as shares of what the encoder has alone, with their intervals."""
    return [
        change
        for encoders in _by_encoder(rows).values()
        for contrasts in encoders.values()
        for label in LABELS
        for change in _changes_of(store, contrasts, label)
    ]


def _changes_of(store: RunStore, contrasts: Mapping[str, PlannedRow], label: str) -> Iterator[Measurement]:
    values = _values(store, contrasts, label)
    alone = values.pop(_ALONE, None)
    if alone is None or not alone.any():
        return
    for name, found in values.items():
        row, test = contrasts[name], _compare(found, alone)
        mean, low, high = (value / float(alone.mean()) for value in (test.difference, test.low, test.high))
        done = [planned for planned in row.runs if store.is_complete(planned)]
        seeds, keys = tuple(one.seed for one in done), tuple(store.kept_key(one) for one in done)
        yield Measurement(row.data, row.row, None, label, _CHANGE, mean, low, high, "users", seeds, keys)


def _cells(store: RunStore, contrasts: Mapping[str, PlannedRow], label: str) -> list[TableCell]:
    """A cell for each contrast of an encoder; a dash where no run is finished yet."""
    values = _values(store, contrasts, label)
    return [
        _cell(values[name], None if name == _ALONE else values.get(_ALONE))
        if name in values
        else TableCell("-")
        for name in contrasts
    ]


def _values(store: RunStore, contrasts: Mapping[str, PlannedRow], label: str) -> dict[str, FloatArray]:
    """The metric of every user and seed, of each contrast that has a finished run."""
    ranks = {name: ranks_of(store, row, label) for name, row in contrasts.items()}
    return {name: values_of(tables, str(_METRIC)) for name, tables in ranks.items() if tables}


def _cell(values: FloatArray, alone: FloatArray | None) -> TableCell:
    mean = float(values.mean())
    if alone is None:
        return TableCell(f"{mean:.4f}", value=mean)
    change = f"{mean / alone.mean() - 1:+.1%}" if alone.any() else "-"
    return TableCell(f"{mean:.4f} ({change}, {_compare(values, alone).p:.4f})", value=mean)


def _compare(values: FloatArray, alone: FloatArray) -> Comparison:
    return paired_bootstrap(values, alone, generator(0, Stream.BOOTSTRAP))


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
        further=_gains,
        changes=_changes,
        notes=(
            "An encoder alone is CL4SRec without its contrast.",
            "`filter` is `relative` with BSARec's filter, `wide filter` the same with a hidden size of 128.",
        ),
    ),
)
"""Tables that are in no paper."""
