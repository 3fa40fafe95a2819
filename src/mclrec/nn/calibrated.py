"""Numbers that validation chooses after training, as part of the weights and on the host."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from mclrec.losses.additions import Additions

__all__ = ["Calibrated"]

Choice = TypeVar("Choice", bound=tuple[float, ...])
"""A named tuple."""
Value = TypeVar("Value")


class Calibrated(nn.Module, Generic[Choice]):
    """Base of modules with a few numbers that no loss sets as lists need them, and that validation chooses.

    What they add to scores is a product: of features of a history and an item, and of coefficients that the choice
    gives. So validation can try many choices on scores that are computed once (`mclrec.evaluation.reranking`).

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

    @abstractmethod
    def features(self, items: Tensor, offsets: Tensor) -> Additions:
        """What the coefficients weigh after each history: additions whose values are (P, F), none of them below 0.

        Args:
            items: (T,) packed histories, oldest item first.
            offsets: (B + 1,) their bounds, on the host.
        """

    @abstractmethod
    def coefficients(self) -> Tensor:
        """(F,) by what is chosen now."""

    @abstractmethod
    def largest(self) -> Tensor:
        """(F,) coefficients that add as much as any choice does that a search from here may come to."""

    def adopt(self, chosen: Mapping[str, float]) -> None:
        """Choose what another module of this kind has chosen, by name; what is not named is as at the start."""
        self.choose(self._start._replace(**chosen))  # type: ignore[attr-defined]

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
