"""Evidence on the paper's claims from published results: differences with intervals, and verdicts in words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mclrec.data.datasets import dataset
from mclrec.evaluation.effects import nested_bootstrap
from mclrec.evaluation.metrics import FloatArray, parse_metric, per_user
from mclrec.experiments.results_table import Measurement, student_quantile
from mclrec.randomness import Stream, generator
from mclrec.runs.run import LABELS, Run
from mclrec.wording import count_of
from scripts import paper_claims
from scripts.paper_claims import Claim, Pair, Point

METRICS = ("HR@20", "NDCG@20")
JUDGED = METRICS[0]
"""The metric of the verdicts: in every file, its interval over users follows from its value and their number."""

PROTOCOL = "U"
"""The protocol of the verdicts: that of MCLRec in the paper."""

_RECIPES = ("sequences", "auto")
"""Sections of the recipes with which several systems are trained by the same rules."""

_NORMAL = 1.96


@dataclass(frozen=True)
class Value:
    """A metric of one row, with the standard error of its mean.

    Attributes:
        mean: mean over users and seeds.
        error: its standard error over ``kind``; None if the file does not give it.
        kind: ``seeds`` or ``users``.
        seeds: number of seeds.
        keys: keys of the runs, to recognise rows that share them.
    """

    mean: float
    error: float | None
    kind: str
    seeds: int
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """Difference of two rows in one metric, with its 95 % interval.

    Attributes:
        pair: the rows.
        mean: mean of ours minus mean of the other.
        low: lower end of the interval; None, like ``high``, if the files do not give it.
        high: upper end of the interval.
        basis: ``paired`` (bootstrap of the same users and the seeds), ``seeds`` (Welch's t), ``users`` (unpaired) or
            ``none`` (no interval).
        seeds: the smaller number of seeds of the two.
    """

    pair: Pair
    mean: float
    low: float | None
    high: float | None
    basis: str
    seeds: int


@dataclass(frozen=True)
class Evidence:
    """Evidence of one campaign, or of the runs on one data set, on a claim.

    Attributes:
        data: name of the data set.
        source: what was compared, in words.
        file: its file under ``results/``; empty for run files, which the page of the data set lists.
        scope: scope of the campaign; None for run files.
        differences: differences by metric, of those of the claim's pairs that could be measured.
    """

    data: str
    source: str
    file: str
    scope: Mapping[str, Any] | None
    differences: Mapping[str, Sequence[Difference]]


def differences_of(
    target: str, measurements: Sequence[Measurement], runs: Mapping[str, Run]
) -> list[dict[str, Any]]:
    """Paired differences of all pairs that claims need from a target, from the rank files of its runs."""
    found = {(row.data, Point(row.row, row.x), row.protocol, row.metric): row for row in measurements}
    pairs = dict.fromkeys(
        pair for claim in paper_claims.CLAIMS if claim.target == target for pair in claim.pairs
    )
    rows = []
    for data in dict.fromkeys(row.data for row in measurements):
        for pair in pairs:
            for label, metric in ((label, metric) for label in LABELS for metric in METRICS):
                ours = found.get((data, pair.ours, label, metric))
                other = found.get((data, pair.other, label, metric))
                if ours and other and ours.keys != other.keys:
                    rows.append(_paired(pair, ours, other, runs))
    return rows


def _paired(pair: Pair, ours: Measurement, other: Measurement, runs: Mapping[str, Run]) -> dict[str, Any]:
    effect = nested_bootstrap(_users(ours, runs), _users(other, runs), generator(0, Stream.BOOTSTRAP))
    return {
        "data": Path(ours.data).stem,
        "ours": list(pair.ours),
        "other": list(pair.other),
        "protocol": ours.protocol,
        "metric": ours.metric,
        "difference": list(effect.difference),
        "p": effect.p,
        "seeds": [len(ours.seeds), len(other.seeds)],
    }


def _users(row: Measurement, runs: Mapping[str, Run]) -> FloatArray:
    """(seeds, users) values of a measurement."""
    name, cut = parse_metric(row.metric)
    return np.stack([per_user(runs[key].ranks(row.part, row.protocol).ranks, name, cut) for key in row.keys])


def evidence(
    claim: Claim, campaigns: Sequence[Mapping[str, Any]], runs: Iterable[Mapping[str, Any]]
) -> list[Evidence]:
    """All published evidence on a claim, by campaign and data set; run files for data sets without a campaign."""
    found = [
        Evidence(data, _source(campaign), f"campaigns/{campaign['file']}", campaign["scope"], differences)
        for campaign in campaigns
        if campaign["target"] == claim.target
        for data in dict.fromkeys(Path(place).stem for place in campaign["scope"]["datasets"])
        if (differences := _campaign_differences(claim, campaign, data))
    ]
    if claim.target == "table3":
        known = {item.data for item in found}
        found += [item for item in _of_runs(claim, runs) if item.data not in known]
    return found


def _source(campaign: Mapping[str, Any]) -> str:
    recipe = campaign["scope"].get("recipe")
    return (
        f"recipe {recipe}" if isinstance(recipe, str) else "recipes by system" if recipe else "its own recipe"
    )


def _campaign_differences(
    claim: Claim, campaign: Mapping[str, Any], data: str
) -> dict[str, list[Difference]]:
    values = {
        (Point(row["row"], row["x"]), row["metric"]): _measured(row)
        for row in campaign["measurements"]
        if Path(row["data"]).stem == data and row["protocol"] == PROTOCOL
    }
    paired = {
        (Pair(Point(*row["ours"]), Point(*row["other"])), row["metric"]): row
        for row in campaign.get("differences", [])
        if row["data"] == data and row["protocol"] == PROTOCOL
    }
    return _differences(claim.pairs, values, paired)


def _measured(row: Mapping[str, Any]) -> Value:
    """A value with the standard error that its 95 % interval implies."""
    count = len(row["seeds"])
    width = student_quantile(count - 1) if row["interval"] == "seeds" else _NORMAL
    return Value(
        row["mean"], (row["high"] - row["low"]) / 2 / width, row["interval"], count, tuple(row["keys"])
    )


def _of_runs(claim: Claim, runs: Iterable[Mapping[str, Any]]) -> list[Evidence]:
    """Evidence from run files, by data set and recipe: the systems that one of `_RECIPES` trains alike."""
    alike: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = {}
    for run in runs:
        data, section = run["data"]["name"], run["recipe"]["section"]
        if section in _RECIPES and data != section:
            alike.setdefault((data, section), {}).setdefault(run["model"], []).append(run)
    found = []
    for (data, section), systems in alike.items():
        values = {
            (Point(model), metric): _mean_over_seeds(
                data, [run["test"][PROTOCOL][metric] for run in of_model], metric
            )
            for model, of_model in systems.items()
            for metric in METRICS
        }
        if differences := _differences(claim.pairs, values, {}):
            found.append(Evidence(data, f"recipe {section}", "", None, differences))
    return found


def _mean_over_seeds(data: str, values: Sequence[float], metric: str) -> Value:
    """The mean over runs with its error; that of a single run follows from the number of users, if the metric is HR."""
    mean = statistics.fmean(values)
    if len(values) > 1:
        return Value(mean, statistics.stdev(values) / len(values) ** 0.5, "seeds", len(values))
    users = dataset(data).users
    known = metric.startswith("HR@") and users
    return Value(mean, math.sqrt(mean * (1 - mean) / users) if known and users else None, "users", 1)


def _differences(
    pairs: Sequence[Pair],
    values: Mapping[tuple[Point, str], Value],
    paired: Mapping[tuple[Pair, str], Mapping[str, Any]],
) -> dict[str, list[Difference]]:
    """Differences by metric, without pairs whose rows are missing or share their runs."""
    found: dict[str, list[Difference]] = {}
    for metric in METRICS:
        for pair in pairs:
            ours, other = values.get((pair.ours, metric)), values.get((pair.other, metric))
            if ours is None or other is None or (ours.keys and ours.keys == other.keys):
                continue
            found.setdefault(metric, []).append(_difference(pair, ours, other, paired.get((pair, metric))))
    return found


def _difference(pair: Pair, ours: Value, other: Value, paired: Mapping[str, Any] | None) -> Difference:
    seeds = min(ours.seeds, other.seeds)
    if paired is not None:
        mean, low, high = paired["difference"]
        return Difference(pair, mean, low, high, "paired", seeds)
    mean = ours.mean - other.mean
    if ours.error is None or other.error is None or ours.kind != other.kind:
        return Difference(pair, mean, None, None, "none", seeds)
    width = _NORMAL if ours.kind == "users" else student_quantile(_welch(ours, other))
    half = width * math.hypot(ours.error, other.error)
    return Difference(pair, mean, mean - half, mean + half, ours.kind, seeds)


def _welch(ours: Value, other: Value) -> int:
    """Degrees of freedom of a difference of means (Welch and Satterthwaite), rounded down."""
    first, second = (value.error or 0.0 for value in (ours, other))
    weights = first**4 / (ours.seeds - 1) + second**4 / (other.seeds - 1)
    return max(1, int((first**2 + second**2) ** 2 / weights)) if weights else min(ours.seeds, other.seeds) - 1


def verdict(claim: Claim, differences: Sequence[Difference]) -> str:
    """The verdict of the differences on a claim, in words; it says so if some of the claim's are not measured.

    A difference counts as seen if its interval excludes 0. If none is seen, the verdict names the direction of the
    means.
    """
    text, measured, wanted = _measured_verdict(claim, differences), len(differences), len(claim.pairs)
    if measured >= wanted:
        return text
    left = f"{measured} of {count_of(wanted, 'difference')}"
    return f"{text} where measured ({left})" if text == "held" else f"{text} ({left} measured)"


def _measured_verdict(claim: Claim, differences: Sequence[Difference]) -> str:
    """The verdict of the differences that are measured."""
    signs = [_seen(claim, difference) for difference in differences]
    ahead, against = signs.count(1), signs.count(-1)
    if ahead == len(signs):
        return "held"
    if against:
        return "held in part, the opposite in part" if ahead else "did not hold: the opposite was seen"
    if ahead:
        return f"held in part: {ahead} of {len(signs)} differences seen"
    sides = {claim.expected * difference.mean > 0 for difference in differences if difference.mean}
    if not sides:
        return "not shown: no difference"
    leaning = {True: "in the claimed direction", False: "in the opposite direction"}
    where = leaning[sides.pop()] if len(sides) == 1 else "in both directions"
    return f"not shown: {where}, within chance"


def _seen(claim: Claim, difference: Difference) -> int:
    """1 if a difference is seen in the claim's direction, -1 in the other one, 0 if neither."""
    if difference.low is None or difference.high is None:
        return 0
    side = (difference.low > 0) - (difference.high < 0)
    return side * claim.expected
