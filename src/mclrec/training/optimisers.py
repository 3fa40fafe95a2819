"""Optimisers by parameter group, whose states persist over all updates of a phase, and weight averaging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mclrec.distributed.layout import WHOLE, ParameterLayout
from mclrec.distributed.processes import Processes
from mclrec.errors import TrainingError
from mclrec.models.base import Recommender
from mclrec.training.config import TrainingConfig

__all__ = ["Optimisers", "WeightAverage", "check_weights"]


class Optimisers:
    """Adam for each parameter group that the updates of a phase name.

    Args:
        model: the model to be trained.
        groups: names of the groups.
        config: learning rate and weight decay.
        layout: how parameters are distributed over processes; a step all-reduces their gradients.
        recorded: whether steps are recorded as CUDA graphs: their learning rates are then tensors on the device, which
            `scale_rates` fills.
    """

    def __init__(
        self,
        model: Recommender,
        groups: set[str],
        config: TrainingConfig,
        layout: ParameterLayout = WHOLE,
        *,
        recorded: bool = False,
    ) -> None:
        self._layout, self._recorded = layout, recorded
        available, rates = model.parameter_groups(), model.learning_rates()
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._all = list(model.parameters())
        self._frozen = {id(parameter) for parameter in self._all if not parameter.requires_grad}
        self._parameters = {
            group: {names[id(parameter)]: parameter for parameter in available[group]}
            for group in sorted(groups)
        }
        self._rates = {group: rates.get(group, config.learning_rate) for group in self._parameters}
        self._current = dict(self._rates)
        self._adam = {group: self._make(group, config.weight_decay) for group in self._parameters}

    def _make(self, group: str, weight_decay: float) -> torch.optim.Adam:
        """Adam of one group."""
        parameters, rate = list(self._parameters[group].values()), self._rates[group]
        if not self._recorded:
            return torch.optim.Adam(parameters, lr=rate, weight_decay=weight_decay, fused=True)
        lr = torch.full((), rate, device=parameters[0].device)
        adam = torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay, fused=True, capturable=True)
        adam._warned_capturable_if_run_uncaptured = True  # no warning: the first steps are not captured
        return adam

    def scale_rates(self, factor: float) -> None:
        """Multiply each group's base learning rate by a factor, from the next step on."""
        for group, adam in self._adam.items():
            self._current[group] = self._rates[group] * factor
            if self._recorded:
                adam.param_groups[0]["lr"].fill_(self._current[group])
            else:
                adam.param_groups[0]["lr"] = self._current[group]

    @property
    def learning_rates(self) -> dict[str, float]:
        """Current learning rate of each group."""
        return dict(self._current)

    def reach_only(self, group: str) -> None:
        """Require gradients for this group's parameters only, so that autograd builds no graph for any others.

        Parameters that were frozen when the phase began stay frozen.

        Raises:
            TrainingError: all parameters of the group are frozen.
        """
        reached = [
            parameter for parameter in self._parameters[group].values() if id(parameter) not in self._frozen
        ]
        if not reached:
            raise TrainingError(f"every parameter of group {group!r} is frozen: there is nothing to update")
        for parameter in self._all:
            parameter.requires_grad_(False)
        for parameter in reached:
            parameter.requires_grad_(True)

    def step(self, group: str, loss: Tensor) -> None:
        """Take one step of the group's optimiser on the gradient of ``loss``."""
        adam = self._adam[group]
        loss.backward()
        self._layout.all_reduce_gradients(self._parameters[group])
        adam.step()
        adam.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Adam's moments and step counts by ``group/parameter/quantity``."""
        return {
            f"{group}/{name}/{quantity}": value
            for group, adam in self._adam.items()
            for name, parameter in self._parameters[group].items()
            for quantity, value in adam.state[parameter].items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore a saved state; parameters that were never updated have no state.

        Raises:
            TrainingError: the state belongs to another model.
        """
        used = 0
        for group, adam in self._adam.items():
            for name, parameter in self._parameters[group].items():
                prefix = f"{group}/{name}/"
                found = {
                    key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
                }
                used += len(found)
                if found:
                    adam.state[parameter] = {
                        key: _beside(key, value, parameter) for key, value in found.items()
                    }
        if used != len(state):
            raise TrainingError(
                "the checkpoint's optimiser state belongs to another model: start without --resume"
            )


class WeightAverage:
    """Polynomial-decay average of the parameters over all steps: step t has a weight of about t ** power.

    Shamir and Zhang, Stochastic Gradient Descent for Non-smooth Optimization, ICML 2013, section 4.

    Args:
        model: the model whose parameters are averaged.
        power: eta in the paper; None disables averaging.
    """

    def __init__(self, model: nn.Module, power: float | None) -> None:
        self._parameters = dict(model.named_parameters())
        self._power, self._steps = power, 0
        self._means: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self) -> None:
        """Add the current parameters to the average."""
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
        """Load the average, if there is one, into the model within the block; restore the parameters afterwards."""
        current = {name: self._parameters[name].clone() for name in self._means}
        for name, mean in self._means.items():
            self._parameters[name].copy_(mean)
        try:
            yield
        finally:
            for name, value in current.items():
                self._parameters[name].copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Averages by parameter name, and the number of steps."""
        return {**self._means, "steps": torch.tensor(self._steps)} if self._means else {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore a saved state."""
        means = dict(state)
        self._steps = int(means.pop("steps", 0))
        self._means = {name: means[name].to(self._parameters[name]) for name in self._parameters if means}


def _beside(key: str, value: Tensor, parameter: Tensor) -> Tensor:
    """Move a saved optimiser quantity to the device, and all except the step count to the dtype, of its parameter."""
    return value.to(parameter.device) if key == "step" else value.to(parameter)


@torch.no_grad()
def check_weights(model: Recommender, processes: Processes, epoch: int) -> None:
    """Refuse weights that are not finite after an epoch: the last step can break them after its loss was checked.

    Raises:
        TrainingError: a weight is not finite.
    """
    finite = [torch.isfinite(weights).all() for weights in model.parameters()]  # copied to the host at once
    if any(processes.any(bool(finite) and not bool(torch.stack(finite).all()))):
        raise TrainingError(
            f"the weights are not finite after epoch {epoch}: lower the learning rate, or train in fp32"
        )
