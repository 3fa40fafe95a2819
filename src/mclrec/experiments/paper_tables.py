"""Tables 2 to 5 of the paper, and the claim of section 4.3 about the regularizer R."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mclrec.data import statistics
from mclrec.data.statistics import Sizes
from mclrec.evaluation.metrics import FloatArray, parse_metric, per_user
from mclrec.evaluation.protocol import RankTable
from mclrec.evaluation.significance import p_text, paired_bootstrap
from mclrec.experiments import paper
from mclrec.experiments.data_names import data_name, dataset_at
from mclrec.experiments.planned_runs import Datasets, PlannedRun, RunStore
from mclrec.experiments.results_table import METRICS, Measurement, PlannedRow, ResultTable, TableCell
from mclrec.experiments.target import Further, Scope, Target
from mclrec.randomness import Stream, generator
from mclrec.recipes import resolve
from mclrec.runs.run import LABELS
from mclrec.wording import count_of

__all__ = ["SIZE_TABLES", "TABLES", "by_repeat", "improvement", "ranks_of", "values_of"]

Ranks = Mapping[str, Sequence[RankTable]]
"""The rank tables of each system, one per seed, all on the same targets."""

# Tables 2 and 5: the sizes of the data. Nothing is trained for them.

_SIZE_COLUMNS = ("", "users", "items", "actions", "average length", "sparsity")


def _sizes_by_data(datasets: Datasets, names: Sequence[str]) -> list[ResultTable]:
    """Table 2: one row per data set."""
    sizes = [statistics.table2(datasets[name]) for name in names]
    if len({size.name for size in sizes}) < len(sizes):
        sizes = [replace(size, name=data_name(name, names)) for size, name in zip(sizes, names, strict=True)]
    return [_size_table("Data sets (paper, table 2)", sizes, distinct=True)]


def _sizes_by_group(datasets: Datasets, names: Sequence[str]) -> list[ResultTable]:
    """Table 5: users with 5, with 6 to 8, and with more than 8 interactions."""
    return [
        _size_table(
            f"{data_name(name, names)}: users by number of interactions (paper, table 5)",
            statistics.table5(datasets[name]),
            distinct=False,
        )
        for name in names
    ]


def _size_table(title: str, sizes: Iterable[Sizes], *, distinct: bool) -> ResultTable:
    rows = [(size.name, _size_cells(size, size.distinct_items if distinct else size.items)) for size in sizes]
    return ResultTable(title, _SIZE_COLUMNS, rows)


def _size_cells(size: Sizes, items: int) -> list[TableCell]:
    numbers = [TableCell(f"{value:,}", value=value) for value in (size.users, items, size.actions)]
    shares = ((size.average_length, f"{size.average_length:.1f}"), (size.sparsity, f"{size.sparsity:.2%}"))
    return [*numbers, *(TableCell(text, value=value) for value, text in shares)]


SIZE_TABLES: Mapping[str, Callable[[Datasets, Sequence[str]], list[ResultTable]]] = {
    "table2": _sizes_by_data,
    "table5": _sizes_by_group,
}
"""Tables that need no runs, by name."""

# Table 3: all systems, trained and evaluated alike.

_SYSTEMS = (
    "popularity",
    "recency",
    "frequency",
    "markov",
    "itemknn",
    "cooccurrence",
    "ease",
    "bpr",
    "gru4rec",
    "caser",
    "sasrec",
    "bert4rec",
    "bsarec",
    "hstu",
    "s3rec",
    "cl4srec",
    "coserec",
    "lma4rec",
    "iclrec",
    "duorec",
    "srma",
    "mclrec",
)
_SPLIT_METRICS = ("HR@20", "NDCG@20")


def _systems(scope: Scope) -> Sequence[PlannedRow]:
    return [scope.row(PlannedRun(data, model), model) for data in scope.datasets for model in scope.models]


def _paper_table3(found: Measurement) -> float | None:
    if found.protocol != paper.paper_protocol(found.row):
        return None
    return paper.table3().get((found.data, found.row, found.metric))


def _comparisons(store: RunStore, rows: Sequence[PlannedRow]) -> Further:
    """Tables of MCLRec against the best other system, and of all systems by whether the target is a repeat."""
    tables = []
    places = dict.fromkeys(row.data for row in rows)
    for data in places:
        name = data_name(data, places)
        ranks = {
            label: {
                row.row: found for row in rows if row.data == data and (found := ranks_of(store, row, label))
            }
            for label in LABELS
        }
        tables += [
            improvement(f"MCLRec against the best of the others on {name}, {label}", ranks[label], "mclrec")
            for label in LABELS
            if "mclrec" in ranks[label] and len(ranks[label]) > 1
        ]
        if any(seeds[0].in_history.any() for seeds in ranks["U"].values()):
            tables.append(by_repeat(f"Targets that are in the history already, on {name}, U", ranks["U"]))
    return Further(tables)


def ranks_of(store: RunStore, row: PlannedRow, label: str) -> list[RankTable]:
    """The ranks of a row's finished runs."""
    return [store.run(planned).ranks("test", label) for planned in row.runs if store.is_complete(planned)]


def improvement(title: str, ranks: Ranks, ours: str) -> ResultTable:
    """Compare one system, metric by metric, with the best of the others, by a paired bootstrap."""
    rows = []
    for metric in METRICS:
        values = {name: values_of(tables, metric) for name, tables in ranks.items()}
        best = max((name for name in values if name != ours), key=lambda name: float(values[name].mean()))
        mine, theirs = float(values[ours].mean()), float(values[best].mean())
        test = paired_bootstrap(values[ours], values[best], generator(0, Stream.BOOTSTRAP))
        change = f"{mine / theirs - 1:+.1%}" if theirs else "-"
        cells = [
            TableCell(f"{mine:.4f}", value=mine),
            TableCell(best),
            TableCell(f"{theirs:.4f}", value=theirs),
            TableCell(change, value=mine - theirs),
            TableCell(p_text(test.p), value=test.p),
        ]
        rows.append((metric, cells))
    columns = ["", ours, "best other", "its value", "improvement", "p"]
    notes = ["p is two-sided, by a paired bootstrap over users; seeds are averaged over."]
    return ResultTable(title, columns, rows, notes)


def by_repeat(title: str, ranks: Ranks) -> ResultTable:
    """Metrics on targets that the user has interacted with before, and on all others; ``-`` for an empty group."""
    repeated = next(iter(ranks.values()))[0].in_history
    rows = [
        (
            name,
            [_mean(tables, metric, chosen) for metric in _SPLIT_METRICS for chosen in (repeated, ~repeated)],
        )
        for name, tables in ranks.items()
    ]
    columns = ["", *(f"{metric}, {kind}" for metric in _SPLIT_METRICS for kind in ("repeats", "others"))]
    notes = [f"{repeated.mean():.2%} of {count_of(len(repeated), 'target')} are repeats."]
    return ResultTable(title, columns, rows, notes)


def values_of(tables: Sequence[RankTable], metric: str) -> FloatArray:
    """Values of a metric for each seed and target: (seeds, M)."""
    return np.stack([per_user(table.ranks, *parse_metric(metric)) for table in tables])


def _mean(tables: Sequence[RankTable], metric: str, chosen: np.ndarray) -> TableCell:
    """The mean over the chosen targets; ``-`` if there are none."""
    if not chosen.any():
        return TableCell("-")
    value = float(values_of(tables, metric)[:, chosen].mean())
    return TableCell(f"{value:.4f}", value=value)


# Table 4: MCLRec without each of its parts; also R as in the paper, and two updates per batch instead of three.

_LAMBDA_OF_C = 0.1
"""Lambda of row (C) if the recipe's is 0: without L_cl2 as well, the row would be SASRec and not CL4SRec."""

_ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "(A) MCLRec": {},
    "(B) w/o L_cl1": {"lambda": 0.0},
    "(C) w/o L_cl2": {"beta": 0.0},
    "(D) w/o R": {"gamma": 0.0},
    "(E) shared augmenter": {"shared_augmenter": True},
    "R of the paper": {"regularizer": "paper"},
    "two updates": {"updates": "two"},
}


def _ablations(scope: Scope) -> Sequence[PlannedRow]:
    return [
        scope.row(PlannedRun(data, "mclrec", settings=_ablated(scope, data, row)), row)
        for data in scope.datasets
        for row in _ABLATIONS
    ]


def _ablated(scope: Scope, data: str, row: str) -> Mapping[str, Any]:
    """The settings that a row changes; (C) keeps the recipe's lambda unless that is 0."""
    if not row.startswith("(C)"):
        return _ABLATIONS[row]
    settings = scope.settings_of(PlannedRun(data, "mclrec"))
    recipe = resolve("mclrec", dataset_at(data), scope.recipe_of("mclrec", data), settings)
    weight = recipe.config.model_dump(by_alias=True)["lambda"] or _LAMBDA_OF_C
    return {**_ABLATIONS[row], "lambda": weight}


def _paper_table4(found: Measurement) -> float | None:
    if found.protocol != "U":
        return None
    return paper.table4().get((found.data, found.row[1], found.metric))


# Section 4.3 claims that R makes CL4SRec and DuoRec worse, since it is designed for learnable augmenters.

_GAMMA = 0.01
"""A tenth of the weight of the contrastive loss (.1 in both models), the same ratio as in MCLRec."""


def _with_and_without_r(scope: Scope) -> Sequence[PlannedRow]:
    return [
        scope.row(PlannedRun(data, model, settings=settings), model + suffix)
        for data in scope.datasets
        for model in ("cl4srec", "duorec")
        for suffix, settings in (("", {}), (" with R", {"gamma": _GAMMA}))
    ]


TABLES = (
    Target(
        "table3",
        "Performance of all systems",
        "table 3",
        _systems,
        models=_SYSTEMS,
        paper=_paper_table3,
        further=_comparisons,
        notes=(
            "The paper has MCLRec and DuoRec under U and all others under F; the two are not comparable.",
        ),
    ),
    Target(
        "table4",
        "Ablation of MCLRec",
        "table 4",
        _ablations,
        metrics=("HR@20", "NDCG@20"),
        paper=_paper_table4,
    ),
    Target(
        "claim-regularizer",
        "R in CL4SRec and DuoRec",
        "section 4.3",
        _with_and_without_r,
        metrics=("HR@20", "NDCG@20"),
        notes=("R is that of the official code, on the pairs that the model contrasts, with gamma = .01.",),
    ),
)
"""Tables that need runs."""
