"""What a run or search must have in common with the one that it goes on with, and how it differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mclrec.configuration import option_text

__all__ = ["NOTHING_LATER", "SETTING", "Difference", "first_difference"]

SETTING = "setting "
"""What keys of an identity begin with that ``--set`` can change."""

NOTHING_LATER: Mapping[str, Any] = MappingProxyType({})
"""For identities whose keys have always been there."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first key in which two identities differ.

    Attributes:
        key: of the identity.
        had: value of the one that was begun.
        now: value of the one that would go on.
        known: whether both have the key.
    """

    key: str
    had: Any
    now: Any
    known: bool

    def remedy(self, otherwise: str) -> str:
        """What to do about it: the ``--set`` by which it goes on, where there is one, or ``otherwise``."""
        if not (self.known and self.key.startswith(SETTING)):
            return otherwise
        return f"go on with --set {self.key.removeprefix(SETTING)}={option_text(self.had)}, or {otherwise}"


def first_difference(
    had: Mapping[str, Any], now: Mapping[str, Any], came_later: Mapping[str, Any] = NOTHING_LATER
) -> Difference | None:
    """The first key, by name, in which two identities differ; None where they are the same.

    Args:
        had: the one that was begun, perhaps by an earlier version, as JSON has it.
        now: the one that would go on, as JSON has it.
        came_later: values of keys that an earlier version did not have, as it did without them.
    """
    had, now = {**came_later, **had}, {**came_later, **now}
    for key in sorted(had.keys() | now.keys()):
        if had.get(key) != now.get(key):
            return Difference(key, had.get(key), now.get(key), key in had and key in now)
    return None
