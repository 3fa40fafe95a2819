"""Comparisons of systems with a baseline, and the claims that they support, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mclrec.errors import EvaluationError
from mclrec.evaluation.effects import (
    LEVEL,
    Effect,
    detectable_difference,
    nested_bootstrap,
)
from mclrec.evaluation.metrics import FloatArray
from mclrec.evaluation.resampling import checked_rows
from mclrec.evaluation.significance import Interval, holm, p_text
from mclrec.randomness import Stream, generator
from mclrec.wording import count_of, with_minus

__all__ = ["Finding", "compare_with_baseline"]

_MINUS = "\N{MINUS SIGN}"
_AT_MOST = "\N{LESS-THAN OR EQUAL TO}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Comparison of a system with the baseline, one of a family of simultaneous comparisons.

    Attributes:
        system: name of the system.
        baseline: name of the baseline.
        metric: name of the compared metric, as used in sentences.
        users: number of users.
        seeds: numbers of seeds of the system and of the baseline.
        effect: difference from the baseline.
        adjusted_p: p-value of ``effect`` after Holm's correction over the family.
        family: number of comparisons in the family.
        detectable: smallest difference that can be detected with these users and seeds, with a power of .8 and a
            significance level of .05 over the family; None for a single user.
        base: mean of the baseline.
    """

    system: str
    baseline: str
    metric: str
    users: int
    seeds: tuple[int, int]
    effect: Effect
    adjusted_p: float
    family: int
    detectable: float | None
    base: float

    @property
    def sure(self) -> bool:
        """Whether the difference is significant."""
        return self.adjusted_p < LEVEL

    @property
    def relative_detectable(self) -> float | None:
        """The smallest detectable difference as a share of the baseline's mean; None if that share is undefined."""
        if self.detectable is None or self.effect.relative is None:
            return None
        return self.detectable / self.base

    @property
    def claim(self) -> str:
        """The claim that the comparison supports, in one sentence."""
        if self.sure:
            side = "ahead of" if self.effect.difference.mean > 0 else "behind"
            size, p = _size(self.effect), self._p_words()
            return f"{self.system} is {side} {self.baseline} on {self.metric} by {size}, {p}"
        both = f"{self.system} and {self.baseline} cannot be told apart"
        if self.effect.difference == (0, 0, 0):
            return f"{both}: they have the same {self.metric} for every user"
        return f"{both} on {self.metric} ({_signed(self.effect)}, {self._p_words()}): {self._limit()}"

    @property
    def p_text(self) -> str:
        """The adjusted p-value, marked as an upper bound if the bootstrap cannot resolve a smaller one."""
        least = p_text(self.effect.p).startswith(_AT_MOST)
        return p_text(self.adjusted_p, self.adjusted_p if least else 0)

    def _p_words(self) -> str:
        words = f"p {self.p_text}" if self.p_text.startswith(_AT_MOST) else f"p = {self.p_text}"
        return words if self.family == 1 else f"{words} after Holm over {self.family} comparisons"

    def _limit(self) -> str:
        """The smallest detectable difference, in words."""
        share, height = self.relative_detectable, self.detectable
        if height is None:
            return "a single user shows nothing"
        size = f"{height:.4f}" if share is None else f"{_percents(share)[0]} %"
        return f"this test set of {count_of(self.users, 'user')} shows differences of {size} or more"


def compare_with_baseline(values: Mapping[str, FloatArray], metric: str) -> list[Finding]:
    """Compare every system with the first one, all on the same users.

    Args:
        values: (users,) or (seeds, users) values of the metric by name of the system, from
            `mclrec.evaluation.metrics.per_user`; users in the same order for all systems.
        metric: its name, for the sentences.

    Raises:
        EvaluationError: there is no system, the users differ in number, or a value is not finite.
    """
    if not values:
        raise EvaluationError("there are no systems to compare")
    (baseline, own), *others = ((name, checked_rows(rows)) for name, rows in values.items())
    effects = [nested_bootstrap(rows, own, generator(0, Stream.BOOTSTRAP)) for _, rows in others]
    adjusted = holm([effect.p for effect in effects])
    return [
        Finding(
            name,
            baseline,
            metric,
            users=own.shape[1],
            seeds=(len(rows), len(own)),
            effect=effect,
            adjusted_p=p,
            family=len(others),
            detectable=detectable_difference(rows, own, LEVEL / len(others)),
            base=float(own.mean()),
        )
        for (name, rows), effect, p in zip(others, effects, adjusted, strict=True)
    ]


def _size(effect: Effect) -> str:
    """Absolute value of a significant difference, with its interval; as shares of the baseline if these are defined."""
    found = effect.difference if effect.relative is None else effect.relative
    ordered = found if found.mean > 0 else Interval(-found.mean, -found.high, -found.low)
    if effect.relative is None:
        mean, low, high = (f"{value:.4f}" for value in ordered)
        return f"{mean} ({low} to {high})"
    mean, low, high = _percents(*ordered)
    return f"{mean} % ({low} to {high} %)"


def _signed(effect: Effect) -> str:
    """A difference with its sign and interval."""
    if effect.relative is None:
        mean, low, high = (with_minus(f"{value:+.4f}") for value in effect.difference)
        return f"{mean}, {low} to {high}"
    mean, low, high = (
        text if text.startswith(_MINUS) else f"+{text}" for text in _percents(*effect.relative)
    )
    return f"{mean} %, {low} to {high} %"


def _percents(*shares: float) -> list[str]:
    """Shares in per cent, all with the number of decimals that the smallest nonzero share needs, at most three."""
    least = min((abs(share) for share in shares if share), default=1.0)
    decimals = 0 if least >= 0.1 else 1 if least >= 0.01 else 2 if least >= 0.001 else 3
    return [with_minus(f"{100 * share:,.{decimals}f}") for share in shares]
