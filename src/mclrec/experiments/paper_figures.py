"""Figures 2 to 8 of the paper: the runs that each needs, and how it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mclrec.data.statistics import GROUPS
from mclrec.experiments.noise import noisy_part
from mclrec.experiments.planned_runs import PlannedRun
from mclrec.experiments.results_table import PlannedRow
from mclrec.experiments.target import Scope, Target
from mclrec.experiments.view_plots import view_plots_of

__all__ = ["FIGURES"]

_METRICS = ("HR@20", "NDCG@20")
_CONTRASTIVE = ("sasrec", "cl4srec", "duorec", "mclrec")
_BATCH_SIZES = (32, 64, 128, 256, 512)
_WEIGHTS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""The weights of section 4.1.4, and 0."""

_NOISE = (0.05, 0.1, 0.15, 0.2, 0.3)


def _joint_or_meta(scope: Scope) -> Sequence[PlannedRow]:
    """Figure 3: one joint loss for everything, against augmenters that learn with the current encoder held fixed."""
    return [
        row
        for data in scope.datasets
        for row in (
            scope.row(PlannedRun(data, "cl4srec"), "CL4SRec"),
            scope.row(PlannedRun(data, "duorec"), "DuoRec"),
            scope.row(PlannedRun(data, "mclrec", settings={"updates": "joint"}), "MCLRec-J"),
            scope.row(PlannedRun(data, "mclrec"), "MCLRec"),
        )
    ]


def _by_batch_size(scope: Scope) -> Sequence[PlannedRow]:
    """Figure 4: effect of the batch size on contrastive losses."""
    return [
        scope.row(PlannedRun(data, model, settings={"batch_size": size}), model, size)
        for data in scope.datasets
        for model in scope.models
        for size in _BATCH_SIZES
    ]


def _by_weight(scope: Scope) -> Sequence[PlannedRow]:
    """Figure 6: the weights of the two contrastive losses, varied one at a time."""
    return [
        scope.row(PlannedRun(data, "mclrec", settings={name: weight}), name, weight)
        for data in scope.datasets
        for name in ("lambda", "beta")
        for weight in _WEIGHTS
    ]


def _by_noise(scope: Scope) -> Sequence[PlannedRow]:
    """Figure 7: random items inserted into the test histories."""
    return [
        scope.row(PlannedRun(data, model, noise=_NOISE), model, share, noisy_part(share) if share else "test")
        for data in scope.datasets
        for model in scope.models
        for share in (0.0, *_NOISE)
    ]


def _by_length(scope: Scope) -> Sequence[PlannedRow]:
    """Figure 8: users grouped by number of interactions, each group trained and evaluated alone."""
    return [
        scope.row(PlannedRun(data, model, lengths=(shortest, longest)), f"{model}, {label}")
        for data in scope.datasets
        for model in scope.models
        for label, shortest, longest in GROUPS
    ]


FIGURES = (
    Target(
        "figure2",
        "Views of the augmenters, with and without R",
        "figure 2",
        lambda scope: scope.variants({"without R": {"gamma": 0.0}, "with R": {}}),
        kind="views",
        x="t-SNE, first direction",
        metrics=_METRICS,
        view_plots=partial(view_plots_of, views=("z1", "z2")),
    ),
    Target(
        "figure3",
        "Joint learning against meta learning",
        "figure 3",
        _joint_or_meta,
        kind="bars",
        x="data",
        metrics=_METRICS,
    ),
    Target(
        "figure4",
        "Batch size",
        "figure 4",
        _by_batch_size,
        models=_CONTRASTIVE,
        kind="lines",
        x="batch size",
        metrics=_METRICS,
    ),
    Target(
        "figure5",
        "Views of the data under joint and under meta learning",
        "figure 5",
        lambda scope: scope.variants({"MCLRec-J": {"updates": "joint"}, "MCLRec": {}}),
        kind="views",
        x="t-SNE, first direction",
        metrics=_METRICS,
        view_plots=partial(view_plots_of, views=("h1", "h2")),
    ),
    Target(
        "figure6",
        "Weights of the contrasts",
        "figure 6",
        _by_weight,
        kind="lines",
        x="weight",
        metrics=_METRICS,
        notes=(
            "The other weight is the recipe's. With both 0 it is SASRec, its encoder updated twice a batch.",
        ),
    ),
    Target(
        "figure7",
        "Noise in the test histories",
        "figure 7",
        _by_noise,
        models=("sasrec", "cl4srec", "iclrec", "duorec", "srma", "mclrec"),
        kind="lines",
        x="share of random items",
        metrics=_METRICS,
        notes=(
            "The noise of a share is the same for all models and seeds. Short histories get none: floor(share * n).",
        ),
    ),
    Target(
        "figure8",
        "Users by number of interactions",
        "figure 8",
        _by_length,
        models=_CONTRASTIVE,
        kind="bars",
        x="interactions",
        metrics=_METRICS,
        notes=(
            "The catalogue is that of all users: targets of every group are ranked among the same items.",
        ),
    ),
)
"""The figures, in the paper's order."""
