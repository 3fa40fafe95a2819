"""What answers requests: dense ids in, dense ids out, many at once. This module needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mclrec.data.packed import IntArray

__all__ = ["Answer", "Engine", "FloatArray", "Question"]

FloatArray = npt.NDArray[np.float32]

_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A history, and what may be answered.

    Attributes:
        history: (n,) dense ids of known items, oldest first; may be empty. All of it is given: an engine reads the
            newest items that its model can take.
        k: how many items are wanted, at least 1.
        excluded: dense ids that may not be answered, in any order; the items of the history, as a rule.
        allowed: the only dense ids that may be answered; all of them if None.
    """

    history: IntArray
    k: int
    excluded: IntArray = field(default_factory=lambda: _NONE)
    allowed: IntArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The best items, best first; of equal scores the lower id comes first.

    Attributes:
        items: (m,) dense ids, m <= k: fewer where no more are left.
        scores: (m,) comparable within one answer alone; training counts where ``popular``.
        popular: whether the history was empty, so that popular items were given.
    """

    items: IntArray
    scores: FloatArray
    popular: bool = False


class Engine(Protocol):
    """A model that answers. Nothing in it changes after loading, so threads may share it."""

    @property
    def num_items(self) -> int:
        """V."""

    @property
    def max_length(self) -> int:
        """n, the newest items of a history that the model reads."""

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in their order, whatever mix of lengths, k and lists they are."""

    def similar(self, item: int, k: int) -> Answer:
        """The k items whose vectors have the highest cosine with that of ``item``, without itself.

        Raises:
            EvaluationError: the model has no item vectors.
        """
