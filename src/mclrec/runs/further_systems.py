"""Beyond-accuracy metrics of runs, beside those of popularity and Markov on the same targets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch

from mclrec.arguments import path_of
from mclrec.data.item_categories import ItemCategories
from mclrec.data.split import Split, Targets
from mclrec.errors import ConfigError
from mclrec.evaluation.audience_vectors import audience_vectors
from mclrec.evaluation.further_metrics import FurtherMetrics, Grounds, Values
from mclrec.evaluation.metrics import main_metric
from mclrec.evaluation.protocol import LABEL_OF, Result, Seen
from mclrec.evaluation.ranking import list_items, rank_targets
from mclrec.inference.torch_engine import item_vectors
from mclrec.models.base import Recommender, VectorRecommender
from mclrec.models.storage import load_model
from mclrec.runs.baselines import baseline_names, system_name, too_large, trained_baselines
from mclrec.runs.run import Run

__all__ = ["check_metrics", "further_metrics", "further_of_runs", "passes"]


def check_metrics(metrics: str, categories: object) -> Path | None:
    """Check that categories are used by the metrics, and return the path of their file; None if there are none.

    Raises:
        ConfigError: they are not used: only beyond-accuracy metrics need categories.
    """
    if categories is None:
        return None
    if metrics != "all":
        raise ConfigError("categories are used only for metrics beyond accuracy: add --metrics all")
    return path_of("categories", categories)


def passes(model: str, targets: Targets) -> int:
    """Number of passes of `further_metrics` over the targets: lists of the run, lists and ranks of each baseline."""
    return 1 + 2 * (0 if too_large(targets) else len(baseline_names(model)))


def further_metrics(
    model: Recommender,
    split: Split,
    result: Result,
    *,
    ks: tuple[int, ...] | None,
    categories: ItemCategories | None,
    device: torch.device,
    progress: Callable[[int], None],
) -> FurtherMetrics:
    """Compute beyond-accuracy metrics of the lists of a model and of the baselines, for the targets of a result.

    Args:
        model: the evaluated model, on ``device``.
        split: split of the targets.
        result: exact ranks of the model, under one protocol.
        ks: requested cutoffs: lists have the length of the main metric's cutoff, or the first of these if it is not
            among them.
        categories: categories of the items.
        device: device of the model.
        progress: called after each batch with the number of targets in it.

    Raises:
        EvaluationError: a cutoff is not in 1..V.
    """
    targets, seen = result.targets, result.protocol.seen
    length = main_metric(model.num_items).k
    if ks and length not in ks:
        length = ks[0]
    grounds = Grounds(
        targets,
        split.training.popularity,
        audience_vectors(split.training),
        item_vectors(model)[0] if isinstance(model, VectorRecommender) else None,
        None if categories is None else categories.of_items,
    )
    lists = list_items(model, targets, length, seen=seen, device=device, progress=progress)
    name = system_name(result.model, result.config)
    systems: dict[str, Values] = {name: grounds.values(lists, result.ranks)}
    skipped = too_large(targets)
    if not skipped:
        systems |= _of_baselines(grounds, split, [name], length, seen, progress)
    notes = [] if categories is None else [categories.description]
    return FurtherMetrics(
        k=length,
        systems=systems,
        targets=grounds.of_targets(),
        effective_targets=grounds.effective_targets,
        notes=(*notes, skipped) if skipped else tuple(notes),
    )


def further_of_runs(runs: Mapping[str, Run], split: Split, seen: Seen) -> FurtherMetrics:
    """Compute beyond-accuracy metrics of the lists of several runs and of the baselines, for the same test targets.

    Diversity by item vectors is left out, since each model has its own vectors.

    Args:
        runs: the runs, by name of the system; all were measured on this split.
        split: split of their data.
        seen: keep (U) or drop (F) items of the history.

    Raises:
        ModelFileError: a run is damaged.
    """
    targets, device = split.test, torch.device("cpu")
    grounds = Grounds(targets, split.training.popularity, audience_vectors(split.training))
    length = main_metric(split.data.num_items).k
    systems: dict[str, Values] = {}
    for name, run in runs.items():
        model = load_model(run.directory, device).model
        lists = list_items(model, targets, length, seen=seen, device=device)
        systems[name] = grounds.values(lists, run.ranks("test", LABEL_OF[seen]).ranks)
    trained = [system_name(run.info.model, run.info.config) for run in runs.values()]
    return FurtherMetrics(
        k=length,
        systems=systems | _of_baselines(grounds, split, trained, length, seen),
        targets=grounds.of_targets(),
        effective_targets=grounds.effective_targets,
    )


def _of_baselines(
    grounds: Grounds,
    split: Split,
    measured: Collection[str],
    length: int,
    seen: Seen,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Values]:
    """Values of popularity and Markov, except those measured already."""
    found: dict[str, Values] = {}
    for name, baseline in trained_baselines(split, ""):
        if name not in measured:
            ranks = rank_targets(baseline, grounds.targets, seen=seen, progress=progress)
            lists = list_items(baseline, grounds.targets, length, seen=seen, progress=progress)
            found[name] = grounds.values(lists, ranks)
    return found
