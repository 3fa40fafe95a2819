"""Base of modules with numbers that validation chooses after training, kept in the weights and on the host."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from mclrec.losses.additions import Additions

__all__ = ["Calibrated"]

Choice = TypeVar("Choice", bound=tuple[float, ...])
"""A named tuple of the chosen numbers."""
Value = TypeVar("Value")


class Calibrated(nn.Module, Generic[Choice]):
    """Base of modules with a few numbers that training cannot set well for ranking, so that validation chooses them.

    What they add to scores is a product of features of a history and an item with coefficients that follow from the
    choice. Validation can therefore try many choices on scores computed once (`mclrec.evaluation.reranking`).

    Args:
        make: makes a choice from its numbers.
        start: the choice until another is made.
        dtype: of the chosen numbers as stored in the weights.
    """

    calibrated: Tensor

    def __init__(
        self, make: Callable[[Iterable[float]], Choice], start: Choice, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self._make, self._start = make, start
        self.register_buffer("calibrated", torch.tensor(start, dtype=dtype))
        self.chosen = start
        """The contents of ``calibrated``, on the host."""

    @abstractmethod
    def features(self, items: Tensor, offsets: Tensor) -> Additions:
        """Features that the coefficients weigh, for each history: additions with values (P, F), none of them negative.

        Args:
            items: (T,) packed histories, oldest item first.
            offsets: (B + 1,) their bounds, on the host.
        """

    @abstractmethod
    def coefficients(self) -> Tensor:
        """(F,) coefficients of the current choice."""

    @abstractmethod
    def largest(self) -> Tensor:
        """(F,) coefficients that add at least as much as any choice that a search from the current one can reach."""

    def adopt(self, chosen: Mapping[str, float]) -> None:
        """Take over the choice of another module of this kind, by name; other numbers get their initial values."""
        self.choose(self._start._replace(**chosen))  # type: ignore[attr-defined]

    def choose(self, chosen: Choice) -> None:
        """Set the chosen numbers."""
        self.calibrated.copy_(torch.tensor(chosen, dtype=self.calibrated.dtype))
        self.chosen = chosen

    def asking_once(self, measure: Callable[[], Value]) -> Callable[[Choice], Value]:
        """Make a function that measures the model with a given choice; each choice is set and measured only once."""
        known: dict[Choice, Value] = {}

        def value(chosen: Choice) -> Value:
            if chosen not in known:
                self.choose(chosen)
                known[chosen] = measure()
            return known[chosen]

        return value

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load saved weights; models saved before there was a choice get the initial one."""
        state_dict.setdefault(f"{prefix}calibrated", torch.tensor(self._start, dtype=self.calibrated.dtype))
        super()._load_from_state_dict(state_dict, prefix, *args)
        # Unchanged if the saved tensor has another shape, which is reported as an error of the file.
        self.chosen = self._make(self.calibrated.tolist())
