"""Effect of the order of histories: systems trained and evaluated on ordered and on shuffled histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mclrec.errors import EvaluationError
from mclrec.evaluation.claims import Finding, compare_with_baseline
from mclrec.evaluation.effects import LEVEL, detectable_difference
from mclrec.evaluation.metrics import FloatArray
from mclrec.evaluation.significance import holm
from mclrec.wording import count_of, percent, with_minus

__all__ = ["OrderEffect", "SystemInOrder", "order_effect"]

_LITTLE = 0.1
"""Share of the metric below which the contribution of order is called little."""


_RIVALS = ""
"""Key of the comparison of the two best systems, if they differ."""


@dataclass(frozen=True, slots=True)
class SystemInOrder:
    """A system with ordered and with shuffled histories.

    Attributes:
        name: name of the model.
        ordered: metric with ordered histories.
        shuffled: metric with shuffled histories.
        difference: ordered minus shuffled.
        low: lower end of the difference's 95 % interval, by the paired bootstrap over users.
        high: upper end of that interval.
        p: two-sided p-value, after Holm's correction over all comparisons of the analysis.
    """

    name: str
    ordered: float
    shuffled: float
    difference: float
    low: float
    high: float
    p: float

    @property
    def lost(self) -> float | None:
        """Share of the metric that is lost by shuffling; None if the metric is 0."""
        return self.difference / self.ordered if self.ordered > 0 else None


@dataclass(frozen=True, slots=True)
class OrderEffect:
    """Effect of the order of histories on one log.

    Attributes:
        metric: name of the metric, such as NDCG@10.
        systems: systems that learn from order, and one that does not, for comparison.
        best: the best system with ordered histories, compared with its rival, the best one with shuffled histories.
        rival: name of the rival.
        users: number of users whose targets were ranked.
        detectable: smallest detectable difference between the two for this number of users; None for a single user.
    """

    metric: str
    systems: tuple[SystemInOrder, ...]
    best: SystemInOrder
    rival: str
    users: int
    detectable: float | None

    @property
    def verdict(self) -> str:
        """Whether order matters on this log, in one sentence."""
        best, share = self.best, self.best.lost
        numbers = (
            f"{self.metric} {best.ordered:.4f} by {best.name} with histories in order, {best.shuffled:.4f} by "
            f"{self.rival} with shuffled ones (difference {_signed(best.low)} to {_signed(best.high)}"
        )
        if best.p >= LEVEL:
            limit = "" if self.detectable is None else f"; {self.detectable:.4f} or more would be detected"
            return (
                f"It cannot be shown that order matters on this log: {numbers}, "
                f"{count_of(self.users, 'user')}{limit})."
            )
        if best.difference < 0:
            return f"Order misleads on this log: {numbers})."
        worth = percent(share or 0.0)
        if (share or 0.0) < _LITTLE:
            return f"Order matters little on this log, {worth} of what can be reached: {numbers})."
        return f"Order matters on this log, {worth} of what can be reached: {numbers})."

    def to_json(self) -> dict[str, Any]:
        """The effect as a JSON object, with the verdict."""
        return {**asdict(self), "verdict": self.verdict}


def order_effect(
    ordered: Mapping[str, FloatArray], shuffled: Mapping[str, FloatArray], metric: str
) -> OrderEffect:
    """Compare systems on ordered histories with the same systems on shuffled histories, for the same targets.

    The verdict compares the best system on ordered histories with the best one on shuffled histories, which may be
    different models: one that relies on order may lose much, although another performs as well without it.

    Args:
        ordered: (users,) values of the metric by system, with ordered histories.
        shuffled: the same with shuffled histories, with systems and users in the same order.
        metric: name of the metric.

    Raises:
        EvaluationError: the systems are not the same, or there are none.
    """
    if not ordered or list(ordered) != list(shuffled):
        raise EvaluationError(
            "the effect of order is judged by the same systems, with ordered and with shuffled histories"
        )
    best, rival = _best(ordered), _best(shuffled)
    tests = {name: _compared(ordered[name], shuffled[name], metric) for name in ordered}
    if best != rival:
        tests[_RIVALS] = _compared(ordered[best], shuffled[rival], metric)
    decisive = best if best == rival else _RIVALS
    moved = {name: test for name, test in tests.items() if test.effect.difference != (0, 0, 0)}
    adjusted = dict(zip(moved, holm([test.effect.p for test in moved.values()]), strict=True))
    systems = [
        _system(name, ordered[name], shuffled[name], tests[name], adjusted.get(name, 1.0)) for name in ordered
    ]
    return OrderEffect(
        metric,
        tuple(systems),
        _system(best, ordered[best], shuffled[rival], tests[decisive], adjusted.get(decisive, 1.0)),
        rival,
        len(next(iter(ordered.values()))),
        detectable_difference(ordered[best], shuffled[rival], LEVEL / max(len(moved), 1)),
    )


def _best(arm: Mapping[str, FloatArray]) -> str:
    """Name of the system with the highest mean; the first of tied ones."""
    means = {name: float(np.mean(values)) for name, values in arm.items()}
    return max(means, key=lambda name: means[name])


def _signed(value: float) -> str:
    return with_minus(f"{value:+.4f}")


def _compared(one: FloatArray, other: FloatArray, metric: str) -> Finding:
    [found] = compare_with_baseline({"shuffled": other, "in order": one}, metric)
    return found


def _system(name: str, ordered: FloatArray, shuffled: FloatArray, test: Finding, p: float) -> SystemInOrder:
    return SystemInOrder(name, float(np.mean(ordered)), float(np.mean(shuffled)), *test.effect.difference, p)
