"""A plain session store, the reference for both real ones, and random events for all three."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from mclrec.data.vocabulary import OutsideId
from mclrec.serving.rest.session_items import LETTERS

SECONDS = 5.0
KEYS = ["a", "b", "c", "ü" * 40, "x" * 128, "\x00", "key 7"]
IDS: list[OutsideId] = ["item 01", "item 02", "x", "", "é", "\x00", 7, -(2**63), 2**63 - 1, "y" * 512]


@dataclass
class Clock:
    """A clock that tests set by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class PlainSessions:
    """Sessions kept as documented, but without a bound on their number."""

    items: int
    kept: dict[str, tuple[float, list[OutsideId]]] = field(default_factory=dict)

    def read(self, key: str, now: float) -> list[OutsideId]:
        at, items = self.kept.get(key, (now, []))
        return items if now - at <= SECONDS else []

    def add(self, key: str, items: list[OutsideId], clear: bool, now: float) -> tuple[int, int]:
        before = [] if clear else self.read(key, now)
        after = [*before, *items][-self.items :]
        while sum(len(one) if isinstance(one, str) else 20 for one in after) > LETTERS:
            after = after[1:]
        self.kept[key] = now, after
        return len(after), len(before) + len(items) - len(after)


def draw_items(rng: random.Random) -> list[OutsideId]:
    return [rng.choice(IDS) for _ in range(rng.choice([0, 1, 1, 1, 2, 5, 60]))]
