"""Advice on which system to choose: differences between all pairs of systems, and a sentence based on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from mclrec.data.returns import PROTOCOLS
from mclrec.evaluation.effects import LEVEL, Effect, nested_bootstrap
from mclrec.evaluation.metrics import Metric
from mclrec.evaluation.significance import holm, p_text
from mclrec.experiments.results_table import ResultTable, TableCell
from mclrec.randomness import Stream, generator
from mclrec.report.systems import Study, System
from mclrec.runs.baselines import read_baselines

__all__ = ["Pair", "advice", "differences", "pairs"]

_WHEN = {
    "U": "Where items of the history may be recommended again (U)",
    "F": "Where items of the history are not recommended (F, as mclrec recommend and the service do)",
}


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two systems and the difference between them.

    Attributes:
        better: the system with the higher metric.
        worse: the other system.
        test: the difference, better minus worse, and its p-value.
        sure: whether the difference is significant after Holm's correction over all pairs.
    """

    better: System
    worse: System
    test: Effect
    sure: bool


def pairs(study: Study, protocol: str) -> list[Pair]:
    """All pairs of systems, those of the best system first."""
    metric = study.main_metric
    ordered = sorted(study.systems, key=lambda system: -system.mean(protocol, metric))
    values = {system.label: system.values(protocol, metric) for system in ordered}
    both = list(combinations(ordered, 2))
    tests = [
        nested_bootstrap(values[one.label], values[other.label], generator(0, Stream.BOOTSTRAP))
        for one, other in both
    ]
    corrected = holm([test.p for test in tests])
    return [
        Pair(one, other, test, p < LEVEL)
        for (one, other), test, p in zip(both, tests, corrected, strict=True)
    ]


def differences(found: Sequence[Pair], protocol: str, metric: Metric) -> ResultTable:
    """Table of the differences between all pairs."""
    rows = [
        (
            f"{pair.better.label} \N{MINUS SIGN} {pair.worse.label}",
            [
                TableCell(f"{mean:+.4f}", value=mean),
                TableCell(f"{low:+.4f} to {high:+.4f}", value=low),
                TableCell(p_text(pair.test.p), value=pair.test.p),
                TableCell("yes" if pair.sure else "no", 1 if pair.sure else 0, float(pair.sure)),
            ],
        )
        for pair in found
        for mean, low, high in [pair.test.difference]
    ]
    return ResultTable(
        f"Differences in {metric}, {PROTOCOLS[protocol].title}",
        ["systems", "difference", "95 % interval", "p", "sure"],
        rows,
        [
            (
                "Paired bootstrap over users and over the seeds of a system, two-sided. "
                "\N{LESS-THAN OR EQUAL TO}: the smallest p that it can show. "
                f"Sure: p below {LEVEL:g} after Holm's correction for {len(rows)} pair{'s' if len(rows) > 1 else ''}."
            )
        ],
    )


def advice(study: Study, found: Sequence[Pair], protocol: str) -> str:
    """Text on which system to choose under a protocol, how sure that is, and which baselines are above it."""
    best = found[0].better if found else study.systems[0]
    return f"{_choice(study, found, protocol)}{_better_baselines(study, best, protocol)}"


def _better_baselines(study: Study, best: System, protocol: str) -> str:
    """Sentence on baselines, other than the systems, that are above the best system; empty if there are none."""
    metric = study.main_metric
    models = {system.first.info.model for system in study.systems}
    baselines = read_baselines(study.first.directory)
    above = [
        f"{score.model} ({score.metrics[str(metric)]:.4f})"
        for score in (baselines.scores.get(protocol, ()) if baselines else ())
        if score.model not in models and score.metrics[str(metric)] > best.mean(protocol, metric)
    ]
    if not above:
        return ""
    counts, are = ("counts", "is") if len(above) == 1 else ("count", "are")
    return f" But {' and '.join(above)}, which only {counts}, {are} above it."


def _choice(study: Study, found: Sequence[Pair], protocol: str) -> str:
    metric, when = study.main_metric, _WHEN[protocol]
    best = found[0].better if found else study.systems[0]
    height = f"{best.mean(protocol, metric):.4f}"
    if not found:
        return f"{when}, {best.label} has {metric} {height}; there is no other system to compare it with."
    own = [pair for pair in found if pair.better is best]
    rivals = [pair.worse for pair in own if not pair.sure]
    if not rivals:
        others = _named([pair.worse for pair in own])
        return f"{when}, take {best.label}: its {metric} of {height} is significantly above that of {others}."
    equals = [best, *rivals]
    beaten = [pair.worse for pair in own if pair.sure]
    text = (
        f"{when}, {best.label} has the highest {metric} ({height}), but its lead over {_named(rivals)} may be chance: "
        f"take any of them, for instance {_cheapest(equals)}."
    )
    return f"{text} It is significantly ahead of {_named(beaten)}." if beaten else text


def _cheapest(systems: Sequence[System]) -> str:
    """Text that names the system that trains fastest, with its time."""
    seconds = {system.label: system.first.record.seconds for system in systems}
    label = min(seconds, key=seconds.__getitem__)
    return f"{label}, which trains fastest ({max(seconds[label], 1):,.0f} s)"


def _named(systems: Sequence[System]) -> str:
    """Names joined by commas and "and"."""
    *others, last = [system.label for system in systems]
    return f"{', '.join(others)} and {last}" if others else last
