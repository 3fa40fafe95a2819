"""What a rolling evaluation found: metrics by window, and whether models change places."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mclrec.evaluation.agreement import changed_places, kendall_tau
from mclrec.evaluation.significance import Interval

__all__ = ["Backtest", "Window"]


@dataclass(frozen=True, slots=True)
class Window:
    """Targets by one rule: leave-one-out, or those of a stretch of time.

    Attributes:
        name: ``leave-one-out``, or ``cut 1`` and so on.
        split: the rule, as runs have it.
        start: moment from which targets are taken; None for leave-one-out.
        end: moment from which nothing is a target any more; None for leave-one-out and for the end of the log.
        targets: number of test targets.
        users: that have them.
        new_items: targets whose item training never shows.
        new_users: targets whose user has no training row.
        notes: what else is to be known.
    """

    name: str
    split: str
    start: str | None
    end: str | None
    targets: int
    users: int
    new_items: int
    new_users: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Backtest:
    """Metrics of several models under leave-one-out and in windows of time.

    Attributes:
        data: name of the log.
        fingerprint: of its sequences.
        label: of the protocol.
        metric: such as NDCG@10.
        seed: of the trainings.
        targets: which interactions of a user in a window are targets.
        windows: leave-one-out, then the cuts in order of time.
        values: by model, the metric in each window with its 95 % interval over users.
        notes: which models take a setting that not all of them have.
    """

    data: str
    fingerprint: str
    label: str
    metric: str
    seed: int
    targets: str
    windows: tuple[Window, ...]
    values: dict[str, tuple[Interval, ...]]
    notes: tuple[str, ...] = ()

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return list(self.values)

    def over_time(self, model: str) -> float:
        """Mean of a model's metric over the cuts, each counting once."""
        return float(np.mean([found.mean for found in self.values[model][1:]]))

    @property
    def tau(self) -> float | None:
        """Kendall's tau-b between leave-one-out and the means over the cuts; None for one model or for ties alone."""
        return kendall_tau(self._of_window(0), [self.over_time(model) for model in self.models])

    def tau_of(self, window: int) -> float | None:
        """Kendall's tau-b between leave-one-out and one window."""
        return kendall_tau(self._of_window(0), self._of_window(window))

    @property
    def changed(self) -> list[tuple[str, str]]:
        """Pairs of models of which the first is ahead under leave-one-out, and the second over time."""
        return changed_places(
            self.models, self._of_window(0), [self.over_time(model) for model in self.models]
        )

    @property
    def verdict(self) -> str:
        """Whether models change places, in a sentence."""
        if len(self.models) == 1:
            return "One model has no place to change: name several."
        tau = "undefined" if self.tau is None else f"{self.tau:.2f}"
        if not self.changed:
            return f"Leave-one-out and time order the models alike (Kendall's tau {tau})."
        pairs = "; ".join(f"{one} before {other}" for one, other in self.changed)
        return f"Leave-one-out and time order the models differently (Kendall's tau {tau}): it alone has {pairs}."

    def to_json(self) -> dict[str, Any]:
        """The table ready for JSON."""
        return {
            **{
                name: getattr(self, name)
                for name in ("data", "fingerprint", "label", "metric", "seed", "targets")
            },
            "windows": [
                asdict(window) | {"tau": None if not number else self.tau_of(number)}
                for number, window in enumerate(self.windows)
            ],
            "models": {
                model: {
                    "values": [found._asdict() for found in values],
                    "over_time": self.over_time(model),
                }
                for model, values in self.values.items()
            },
            "tau": self.tau,
            "changed": [list(pair) for pair in self.changed],
            "verdict": self.verdict,
            "notes": list(self.notes),
        }

    def _of_window(self, number: int) -> list[float]:
        return [values[number].mean for values in self.values.values()]
