"""One optimiser a parameter group, kept over all updates of a phase so that they share Adam's state."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mclrec.distributed.layout import WHOLE, ParameterLayout
from mclrec.errors import TrainingError
from mclrec.models.base import Recommender
from mclrec.training.config import TrainingConfig

__all__ = ["Optimisers"]


class Optimisers:
    """Adam for each parameter group that the updates of a phase name.

    Args:
        model: the model to be trained.
        groups: names of the groups.
        config: learning rate and weight decay.
        layout: where the processes hold the parameters; a step takes the gradients of all of them.
    """

    def __init__(
        self,
        model: Recommender,
        groups: set[str],
        config: TrainingConfig,
        layout: ParameterLayout = WHOLE,
    ) -> None:
        self._layout = layout
        available, rates = model.parameter_groups(), model.learning_rates()
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._all = list(model.parameters())
        self._frozen = {id(parameter) for parameter in self._all if not parameter.requires_grad}
        self._parameters = {
            group: {names[id(parameter)]: parameter for parameter in available[group]}
            for group in sorted(groups)
        }
        self._adam = {
            group: torch.optim.Adam(
                list(parameters.values()),
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
        """One step of the group's optimiser down the gradient of ``loss``."""
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
        """Take up a saved state; parameters that never stepped have none."""
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


def _beside(key: str, value: Tensor, parameter: Tensor) -> Tensor:
    """A saved quantity where fused Adam wants it."""
    return value.to(parameter.device) if key == "step" else value.to(parameter)
