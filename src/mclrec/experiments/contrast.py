"""Systems against each other, and by whether a target is a repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mclrec.evaluation.metrics import FloatArray, parse_metric, per_user
from mclrec.evaluation.protocol import RankTable
from mclrec.evaluation.significance import paired_bootstrap
from mclrec.experiments.frame import METRICS
from mclrec.experiments.sheet import Box, Sheet
from mclrec.randomness import Stream, generator

__all__ = ["by_repeat", "improvement"]

_SPLIT = ("HR@20", "NDCG@20")

Ranks = Mapping[str, Sequence[RankTable]]
"""Of each system one table a seed, all on the same targets."""


def improvement(title: str, ranks: Ranks, ours: str) -> Sheet:
    """One system against whichever other is the best in a metric, metric by metric, with a paired bootstrap."""
    rows = []
    for metric in METRICS:
        values = {name: _values(tables, metric) for name, tables in ranks.items()}
        best = max((name for name in values if name != ours), key=lambda name: float(values[name].mean()))
        mine, theirs = float(values[ours].mean()), float(values[best].mean())
        test = paired_bootstrap(values[ours], values[best], generator(0, Stream.BOOTSTRAP))
        change = f"{mine / theirs - 1:+.1%}" if theirs else "-"
        boxes = [Box(f"{mine:.4f}", value=mine), Box(best), Box(f"{theirs:.4f}", value=theirs)]
        rows.append((metric, [*boxes, Box(change, value=mine - theirs), Box(f"{test.p:.4f}", value=test.p)]))
    columns = ["", ours, "best other", "its value", "improvement", "p"]
    return Sheet(
        title, columns, rows, ["p is two-sided, by a paired bootstrap over users; seeds are averaged over."]
    )


def by_repeat(title: str, ranks: Ranks) -> Sheet:
    """Metrics over targets that the user had before, and over the others."""
    repeated = next(iter(ranks.values()))[0].in_history
    rows = [
        (name, [_mean(tables, metric, chosen) for metric in _SPLIT for chosen in (repeated, ~repeated)])
        for name, tables in ranks.items()
    ]
    columns = ["", *(f"{metric}, {kind}" for metric in _SPLIT for kind in ("repeats", "others"))]
    return Sheet(title, columns, rows, [f"{repeated.mean():.2%} of {len(repeated):,} targets are repeats."])


def _values(tables: Sequence[RankTable], metric: str) -> FloatArray:
    """(seeds, users)."""
    return np.stack([per_user(table.ranks, *parse_metric(metric)) for table in tables])


def _mean(tables: Sequence[RankTable], metric: str, chosen: np.ndarray) -> Box:
    value = float(_values(tables, metric)[:, chosen].mean())
    return Box(f"{value:.4f}", value=value)
