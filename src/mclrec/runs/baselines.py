"""Baselines of a run: popularity and a Markov chain, measured on the same targets to put its metrics in context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from mclrec.data.split import Split, Targets
from mclrec.errors import ModelFileError
from mclrec.evaluation.metrics import Metric, main_metric
from mclrec.evaluation.protocol import RankTable, Result, Seen
from mclrec.evaluation.ranking import evaluate
from mclrec.evaluation.significance import confidence_interval, paired_bootstrap
from mclrec.models import registry
from mclrec.models.base import Recommender
from mclrec.randomness import Stream, generator
from mclrec.sealed_json import read_sealed, sealed, validated
from mclrec.wording import count_of

__all__ = [
    "BASELINES",
    "Baselines",
    "Score",
    "baseline_names",
    "changed_settings",
    "measure_baselines",
    "read_baselines",
    "score",
    "system_name",
    "too_large",
    "trained_baselines",
]

BASELINES = "baselines.json"
"""Name of the baselines' file in a run's directory."""

_MODELS = ("markov", "popularity")
_PROTOCOLS: tuple[Seen, ...] = ("drop", "keep")

_MOST_CELLS = 400_000_000
"""Largest product of targets and items for which the baselines are measured; it takes a few seconds."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Part):
    """Metrics of one system under one protocol.

    Attributes:
        model: name of the system.
        metrics: means over the targets.
        low: lower end of the 95 % interval of the main metric, from a bootstrap over users.
        high: upper end of that interval.
        p: two-sided p-value of the difference between the run and this baseline in the main metric; None for the run
            itself, and where nothing was tested.
    """

    model: str
    metrics: dict[str, float]
    low: float
    high: float
    p: float | None = None


class Baselines(_Part):
    """The scores of a run's baselines.

    Attributes:
        metric: the main metric, such as NDCG@10.
        scores: scores of the baselines, by label of the protocol.
        skipped: why they were not measured; None if they were.
    """

    metric: str
    scores: dict[str, tuple[Score, ...]]
    skipped: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object with a checksum."""
        return sealed(self.model_dump(mode="json"))


def measure_baselines(split: Split, model: str, tables: Mapping[str, RankTable], seed: int) -> Baselines:
    """Measure the baselines on the test targets of a run.

    Args:
        split: split of the run.
        model: `system_name` of the run; a baseline of that name is left out.
        tables: the run's exact ranks, by label of the protocol.
        seed: seed of the run, which is only recorded.
    """
    metric = main_metric(split.data.num_items)
    if skipped := too_large(split.test):
        return Baselines(metric=str(metric), scores={}, skipped=skipped)
    scores: dict[str, list[Score]] = {}
    for name, baseline in trained_baselines(split, model):
        for seen in _PROTOCOLS:
            result = evaluate(baseline, split, name=name, seen=seen, seed=seed)
            label = result.protocol.label
            scores.setdefault(label, []).append(_compared(result, tables[label], metric))
    return Baselines(metric=str(metric), scores={label: tuple(found) for label, found in scores.items()})


def changed_settings(model: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in which a run differs from the baseline of the same name; empty if there is no such baseline.

    Args:
        model: name of the run's model.
        config: settings of the model, as saved.
    """
    if model not in _MODELS:
        return {}
    usual = registry.model_class(model).config_type().model_dump(mode="json", by_alias=True)
    return {key: value for key, value in config.items() if value != usual.get(key)}


def system_name(model: str, config: Mapping[str, Any]) -> str:
    """Name of a run beside its baselines: its model, with the settings that differ from the baseline of that name."""
    changed = changed_settings(model, config)
    return " ".join([model, *(f"{key}={value}" for key, value in changed.items())])


def baseline_names(model: str) -> list[str]:
    """Names of a system's baselines, given its `system_name`; a system is no baseline of itself."""
    return [name for name in _MODELS if name != model]


def trained_baselines(split: Split, model: str) -> Iterator[tuple[str, Recommender]]:
    """Yield the name and model of each baseline of a system, trained on demand; ``model`` as in `baseline_names`."""
    for name in baseline_names(model):
        kind = registry.model_class(name)
        baseline = kind(kind.config_type(), split.data.num_items, split.data.num_users)
        baseline.on_fit_start(split.training)
        yield name, baseline


def too_large(targets: Targets) -> str | None:
    """Why measuring baselines on these targets would take too long; None if it takes a few seconds at most."""
    num_items = targets.data.num_items
    if len(targets) * num_items <= _MOST_CELLS:
        return None
    return (
        f"popularity and Markov were not measured: {count_of(len(targets), 'target')} among {num_items:,} items take "
        "more than a few seconds; train with --model markov instead"
    )


def score(model: str, table: RankTable, metrics: dict[str, float], num_items: int) -> Score:
    """Score of a run under one protocol, with the interval of its main metric."""
    found = confidence_interval(table.values(main_metric(num_items)), generator(0, Stream.BOOTSTRAP))
    return Score(model=model, metrics=metrics, low=found.low, high=found.high)


def read_baselines(directory: Path) -> Baselines | None:
    """Read the baselines of a run; None for runs of earlier versions.

    Raises:
        ModelFileError: the file is damaged.
    """
    path = directory / BASELINES
    if not path.exists():
        return None
    return validated(Baselines, read_sealed(path, ModelFileError), str(path), ModelFileError)


def _compared(result: Result, run: RankTable, metric: Metric) -> Score:
    own = replace(run, ranks=result.ranks).values(metric)
    test = paired_bootstrap(run.values(metric), own, generator(0, Stream.BOOTSTRAP))
    found = confidence_interval(own, generator(0, Stream.BOOTSTRAP))
    return Score(model=result.model, metrics=result.metrics, low=found.low, high=found.high, p=test.p)
