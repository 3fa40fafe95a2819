"""Baselines of a run: popularity and a Markov chain on its own targets, beside which its metrics mean something."""

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
"""File of the baselines in a run's directory."""

_MODELS = ("markov", "popularity")
_PROTOCOLS: tuple[Seen, ...] = ("drop", "keep")

_MOST_CELLS = 400_000_000
"""Targets times items up to which the baselines are measured: a few seconds."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Part):
    """Metrics of one system under one protocol.

    Attributes:
        model: its name.
        metrics: means over the targets.
        low: lower end of the 95 % interval of the main metric, by the bootstrap over users.
        high: upper end.
        p: two-sided, of the run being no better or worse than a baseline in the main metric; None for the run itself.
    """

    model: str
    metrics: dict[str, float]
    low: float
    high: float
    p: float | None = None


class Baselines(_Part):
    """The baselines of a run.

    Attributes:
        metric: the main metric, such as NDCG@10.
        scores: by label of the protocol.
        skipped: why they were not measured; None where they were.
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
        split: of the run.
        model: `system_name` of the run, which is no baseline of its own.
        tables: the run's exact ranks, by label of the protocol.
        seed: for the record.
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
    """The settings in which a run differs from the baseline that has its name; none where there is no such baseline.

    Args:
        model: name of the run's model.
        config: its settings, as saved.
    """
    if model not in _MODELS:
        return {}
    usual = registry.model_class(model).config_type().model_dump(mode="json", by_alias=True)
    return {key: value for key, value in config.items() if value != usual.get(key)}


def system_name(model: str, config: Mapping[str, Any]) -> str:
    """Name of a run beside its baselines: its model's, with the settings in which it differs from one of that name."""
    changed = changed_settings(model, config)
    return " ".join([model, *(f"{key}={value}" for key, value in changed.items())])


def baseline_names(model: str) -> list[str]:
    """Names of the baselines of a system by its `system_name`, which is none of its own."""
    return [name for name in _MODELS if name != model]


def trained_baselines(split: Split, model: str) -> Iterator[tuple[str, Recommender]]:
    """The baselines of a system by name, each trained when it is its turn; ``model`` as of `baseline_names`."""
    for name in baseline_names(model):
        kind = registry.model_class(name)
        baseline = kind(kind.config_type(), split.data.num_items, split.data.num_users)
        baseline.on_fit_start(split.training)
        yield name, baseline


def too_large(targets: Targets) -> str | None:
    """Why baselines are not measured on targets, which would take more than a few seconds; None where they are."""
    num_items = targets.data.num_items
    if len(targets) * num_items <= _MOST_CELLS:
        return None
    return (
        f"popularity and Markov were not measured: {count_of(len(targets), 'target')} among {num_items:,} items "
        "take more than a few seconds; train them with --model markov"
    )


def score(model: str, table: RankTable, metrics: dict[str, float], num_items: int) -> Score:
    """Score of a run under one protocol, with the interval of its main metric."""
    found = confidence_interval(table.values(main_metric(num_items)), generator(0, Stream.BOOTSTRAP))
    return Score(model=model, metrics=metrics, low=found.low, high=found.high)


def read_baselines(directory: Path) -> Baselines | None:
    """Baselines of a run; None for runs of earlier versions.

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
