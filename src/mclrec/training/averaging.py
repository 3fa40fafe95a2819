"""A running average of the weights, which is steadier than the weights of any one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Mean of the parameters over all steps so far, step t counting as t to some power, or nearly so.

    Shamir and Zhang, Stochastic Gradient Descent for Non-smooth Optimization, ICML 2013, section 4.

    Args:
        model: whose parameters are averaged.
        power: their eta; None switches averaging off.
    """

    def __init__(self, model: nn.Module, power: float | None) -> None:
        self._parameters = dict(model.named_parameters())
        self._power, self._steps = power, 0
        self._means: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self) -> None:
        """Count the parameters as they are."""
        if self._power is None:
            return
        self._steps += 1
        if not self._means:
            self._means = {name: parameter.clone() for name, parameter in self._parameters.items()}
        share = (self._power + 1) / (self._steps + self._power)
        torch._foreach_lerp_(list(self._means.values()), list(self._parameters.values()), share)

    @contextmanager
    @torch.no_grad()
    def in_place(self) -> Iterator[None]:
        """Let the model have the average meanwhile, if there is one."""
        current = {name: self._parameters[name].clone() for name in self._means}
        for name, mean in self._means.items():
            self._parameters[name].copy_(mean)
        try:
            yield
        finally:
            for name, value in current.items():
                self._parameters[name].copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Means by parameter, and the number of steps."""
        return {**self._means, "steps": torch.tensor(self._steps)} if self._means else {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a saved state."""
        means = dict(state)
        self._steps = int(means.pop("steps", 0))
        self._means = {name: means[name].to(self._parameters[name]) for name in self._parameters if means}
