"""Acceptance test of a new model: compare it with the earlier model and popularity on the same held-out targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from mclrec.data.packed import IntArray
from mclrec.data.returns import share_of_returns, suited_protocol
from mclrec.data.split import Split
from mclrec.evaluation.metrics import FloatArray, parse_metric
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import rank_targets
from mclrec.evaluation.significance import p_text, paired_bootstrap
from mclrec.models import registry
from mclrec.models.storage import load_model
from mclrec.randomness import Stream, generator
from mclrec.runs.earlier_ranks import earlier_ranks
from mclrec.runs.run import Run

__all__ = ["Floor", "Judgement", "Rival", "judge"]

_SIGNIFICANT = 0.05
_SEEN: Mapping[str, Seen] = {"U": "keep", "F": "drop"}
_POPULARITY = "popularity"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rival(_Part):
    """A system that the new model is compared with.

    Attributes:
        name: ``earlier model`` or ``popularity``.
        value: metric of this system.
        difference: the new model's metric minus this one's.
        low: lower end of the difference's 95 % interval, from a bootstrap over users.
        high: upper end of that interval.
        p: two-sided p-value of the difference.
    """

    name: str
    value: float
    difference: float
    low: float
    high: float
    p: float


class Floor(_Part):
    """A metric of the new model, and the least value it must reach."""

    metric: str
    value: float
    least: float


class Judgement(_Part):
    """Result of comparing a new model with its rivals and floors.

    Attributes:
        protocol: label of the protocol that suits the data.
        metric: the validation metric of the training, such as NDCG@10, measured on the test targets.
        targets: number of test targets.
        unknown: number of targets whose item the earlier model does not know, which are misses for it.
        value: the new model's metric.
        rivals: the earlier model and, unless the new model is popularity itself, popularity.
        floors: the floors that were requested.
        faults: reasons against the new model; empty if it may replace the earlier one.
    """

    protocol: Literal["F", "U"]
    metric: str
    targets: int
    unknown: int
    value: float
    rivals: tuple[Rival, ...]
    floors: tuple[Floor, ...]
    faults: tuple[str, ...]


def judge(
    measured: Run, earlier: Run, split: Split, floors: Mapping[str, float], device: torch.device
) -> Judgement:
    """Compare a measured run with an earlier one and with popularity, on the new run's test targets.

    Args:
        measured: run of the new model.
        earlier: run of the earlier model, which was measured on other data.
        split: split of the new model's data.
        floors: least value of each of these metrics, under the same protocol.
        device: device to compute on.

    Raises:
        ModelFileError: a run is damaged.
    """
    label = suited_protocol(share_of_returns(split.validation))
    metric = parse_metric(str(measured.info.training["metric"]))
    table = measured.ranks("test", label)
    before = load_model(earlier.directory, device)
    others = {"earlier model": earlier_ranks(before, split.test, _SEEN[label], device)}
    if measured.info.model != _POPULARITY:
        others[_POPULARITY] = _popularity_ranks(split, _SEEN[label], device)
    own = table.values(metric)
    rivals = tuple(
        _rival(name, own, replace(table, ranks=found).values(metric)) for name, found in others.items()
    )
    reached = tuple(
        Floor(metric=str(one), value=one.mean(table.ranks), least=least)
        for one, least in ((parse_metric(name), least) for name, least in floors.items())
    )
    return Judgement(
        protocol=label,
        metric=str(metric),
        targets=len(table),
        unknown=int((before.items.dense_all(split.data.item_ids)[split.test.items - 1] == 0).sum()),
        value=float(own.mean()),
        rivals=rivals,
        floors=reached,
        faults=(*_faults(str(metric), float(own.mean()), rivals), *_missed_floors(reached)),
    )


def _popularity_ranks(split: Split, seen: Seen, device: torch.device) -> IntArray:
    kind = registry.model_class(_POPULARITY)
    model = kind(kind.config_type(), split.data.num_items)
    model.on_fit_start(split.training)
    return rank_targets(model.to(device), split.test, seen=seen, device=device)


def _rival(name: str, own: FloatArray, other: FloatArray) -> Rival:
    test = paired_bootstrap(own, other, generator(0, Stream.BOOTSTRAP))
    return Rival(
        name=name,
        value=float(np.mean(other)),
        difference=test.difference,
        low=test.low,
        high=test.high,
        p=test.p,
    )


def _faults(metric: str, value: float, rivals: tuple[Rival, ...]) -> list[str]:
    """Faults of the new model: significantly below the earlier model, or not above popularity at all."""
    faults = []
    for rival in rivals:
        if rival.name == _POPULARITY and rival.difference <= 0:
            faults.append(f"{metric} {value:.4f} is not above popularity's {rival.value:.4f}")
        elif rival.name != _POPULARITY and rival.difference < 0 and rival.p < _SIGNIFICANT:
            faults.append(
                f"{metric} {value:.4f} is below the earlier model's {rival.value:.4f} (p {p_text(rival.p)})"
            )
    return faults


def _missed_floors(floors: tuple[Floor, ...]) -> list[str]:
    return [
        f"{floor.metric} {floor.value:.4f} is below the floor {floor.least:g}"
        for floor in floors
        if floor.value < floor.least
    ]
