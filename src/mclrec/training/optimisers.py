"""One optimiser a parameter group, kept over all updates of a phase so that they share Adam's state."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mclrec.errors import TrainingError
from mclrec.models.base import Recommender
from mclrec.processes import SINGLE_PROCESS, Processes
from mclrec.training.config import TrainingConfig

__all__ = ["Optimisers"]


class Optimisers:
    """Adam for each group that the updates of a phase name. Gradients are those of all processes.

    Of an item table that processes share out, each has its own rows, their moments, and their whole gradient.
    """

    def __init__(
        self,
        model: Recommender,
        groups: set[str],
        config: TrainingConfig,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self._processes = processes
        available, rates = model.parameter_groups(), model.learning_rates()
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._all = list(model.parameters())
        self._frozen = {id(parameter) for parameter in self._all if not parameter.requires_grad}
        self._parameters = {group: available[group] for group in sorted(groups)}
        self._names = {
            group: [names[id(parameter)] for parameter in parameters]
            for group, parameters in self._parameters.items()
        }
        self._common = {
            group: [parameter for parameter in parameters if model.shard_of(names[id(parameter)]) is None]
            for group, parameters in self._parameters.items()
        }
        self._adam = {
            group: torch.optim.Adam(
                parameters,
                lr=rates.get(group, config.learning_rate),
                weight_decay=config.weight_decay,
                fused=True,
            )
            for group, parameters in self._parameters.items()
        }

    @property
    def learning_rates(self) -> dict[str, float]:
        """By group, as they are now."""
        return {group: float(adam.param_groups[0]["lr"]) for group, adam in self._adam.items()}

    def reach_only(self, group: str) -> None:
        """Let gradients reach this group's parameters and no others: no graph is built where none leads there.

        What was frozen when the phase began stays so.

        Raises:
            TrainingError: all of the group is frozen.
        """
        reached = [parameter for parameter in self._parameters[group] if id(parameter) not in self._frozen]
        if not reached:
            raise TrainingError(f"every parameter of group {group!r} is frozen: there is nothing to update")
        for parameter in self._all:
            parameter.requires_grad_(False)
        for parameter in reached:
            parameter.requires_grad_(True)

    def step(self, group: str, loss: Tensor) -> None:
        """One step of the group's optimiser down the gradient of ``loss``."""
        adam = self._adam[group]
        loss.backward()
        self._processes.all_reduce_gradients(self._common[group])
        adam.step()
        adam.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Adam's moments and step counts by ``group/parameter/quantity``."""
        return {
            f"{group}/{name}/{quantity}": value
            for group, adam in self._adam.items()
            for name, parameter in zip(self._names[group], self._parameters[group], strict=True)
            for quantity, value in adam.state[parameter].items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a saved state; parameters that never stepped have none."""
        used = 0
        for group, adam in self._adam.items():
            for name, parameter in zip(self._names[group], self._parameters[group], strict=True):
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


def _beside(key: str, value: Tensor, parameter: Tensor) -> Tensor:
    """A saved quantity where fused Adam wants it."""
    return value.to(parameter.device) if key == "step" else value.to(parameter)
