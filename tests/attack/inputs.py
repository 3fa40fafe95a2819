"""Random generators for a bounded time, each reproducible from the seed and its number."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SEED = int(os.environ.get("ATTACK_SEED", "0"))
ONLY_INPUT = os.environ.get("ATTACK_INPUT")


@dataclass
class Attack:
    """The inputs of one test: a numbered sequence of random generators, and the seconds that it may take."""

    name: str
    seconds: float
    number: int = -1
    done: int = 0

    def inputs(self) -> Iterator[np.random.Generator]:
        """Yield one generator per input, at least one, until the test's time is up."""
        name = int.from_bytes(self.name.encode())
        if ONLY_INPUT is not None:
            self.number = int(ONLY_INPUT)
            yield np.random.default_rng([SEED, name, self.number])
            return
        ends = time.monotonic() + self.seconds
        while self.done == 0 or time.monotonic() < ends:
            self.number += 1
            yield np.random.default_rng([SEED, name, self.number])
            self.done += 1
