"""Numbers that validation chooses after training, as part of the weights and on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Calibrated"]

Choice = TypeVar("Choice", bound=tuple[float, ...])
Value = TypeVar("Value")


class Calibrated(nn.Module, Generic[Choice]):
    """Base of modules with a few numbers that no loss sets as lists need them, and that validation chooses.

    Args:
        make: makes a choice of its numbers.
        start: the choice until another is made.
        dtype: of the numbers among the weights.
    """

    calibrated: Tensor

    def __init__(
        self, make: Callable[[Iterable[float]], Choice], start: Choice, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self._make, self._start = make, start
        self.register_buffer("calibrated", torch.tensor(start, dtype=dtype))
        self.chosen = start
        """What is in ``calibrated``, on the host."""

    def choose(self, chosen: Choice) -> None:
        """Set the numbers."""
        self.calibrated.copy_(torch.tensor(chosen, dtype=self.calibrated.dtype))
        self.chosen = chosen

    def asking_once(self, measure: Callable[[], Value]) -> Callable[[Choice], Value]:
        """What ``measure`` says of the model with a choice, which is asked once for each."""
        known: dict[Choice, Value] = {}

        def value(chosen: Choice) -> Value:
            if chosen not in known:
                self.choose(chosen)
                known[chosen] = measure()
            return known[chosen]

        return value

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load what was saved; models that were saved before there was a choice have the first one."""
        state_dict.setdefault(f"{prefix}calibrated", torch.tensor(self._start, dtype=self.calibrated.dtype))
        super()._load_from_state_dict(state_dict, prefix, *args)
        # Unchanged where what was saved has another shape, which is an error of the file.
        self.chosen = self._make(self.calibrated.tolist())
