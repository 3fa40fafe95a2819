"""Results of a rolling evaluation: metrics by window, and whether the ranking of models changes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mclrec.evaluation.agreement import changed_places, kendall_tau
from mclrec.evaluation.significance import Interval

__all__ = ["Backtest", "Window"]


@dataclass(frozen=True, slots=True)
class Window:
    """The test targets of one split rule: leave-one-out, or a window of time.

    Attributes:
        name: ``leave-one-out``, or ``cut 1``, ``cut 2`` and so on.
        split: the split rule, as runs store it.
        start: moment at which the window begins; None for leave-one-out.
        end: moment at which the window ends (exclusive); None for leave-one-out and for the end of the log.
        targets: number of test targets.
        users: number of users with at least one test target.
        new_items: number of targets whose item never occurs in training.
        new_users: number of targets whose user has no training row.
        notes: further remarks on the window.
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
    """Metrics of several models under leave-one-out and in each window of time.

    Attributes:
        data: name of the log.
        fingerprint: fingerprint of its sequences.
        label: label of the protocol.
        metric: name of the metric, such as NDCG@10.
        seed: seed of the trainings.
        targets: which interactions of a user in a window are targets.
        windows: leave-one-out, then the cuts in chronological order.
        values: for each model, the metric in each window with its 95 % interval over users.
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
        """Mean of a model's metric over the cuts, unweighted."""
        return float(np.mean([found.mean for found in self.values[model][1:]]))

    @property
    def tau(self) -> float | None:
        """Kendall's tau-b between leave-one-out and the means over the cuts; None for one model or if all are tied."""
        return kendall_tau(self._window_means(0), [self.over_time(model) for model in self.models])

    def tau_of(self, window: int) -> float | None:
        """Kendall's tau-b between leave-one-out and one window."""
        return kendall_tau(self._window_means(0), self._window_means(window))

    @property
    def changed(self) -> list[tuple[str, str]]:
        """Pairs of models whose order differs: the first leads under leave-one-out, the second over time."""
        return changed_places(
            self.models, self._window_means(0), [self.over_time(model) for model in self.models]
        )

    @property
    def verdict(self) -> str:
        """One sentence on whether the ranking of models changes."""
        if len(self.models) == 1:
            return "A single model has no rank to change: name several."
        tau = "undefined" if self.tau is None else f"{self.tau:.2f}"
        if not self.changed:
            return f"Leave-one-out and time order the models alike (Kendall's tau {tau})."
        pairs = "; ".join(f"{one} before {other}" for one, other in self.changed)
        return (
            f"Leave-one-out and time order the models differently (Kendall's tau {tau}): only leave-one-out has "
            f"{pairs}."
        )

    def to_json(self) -> dict[str, Any]:
        """The table as a JSON object."""
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

    def _window_means(self, number: int) -> list[float]:
        return [values[number].mean for values in self.values.values()]
