"""Comparison of a resumed run's or search's identity with that of the original one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mclrec.configuration import option_text

__all__ = ["NOTHING_LATER", "SETTING", "Difference", "first_difference"]

SETTING = "setting "
"""Prefix of those identity keys that ``--set`` can change."""

NOTHING_LATER: Mapping[str, Any] = MappingProxyType({})
"""Default of ``came_later``: no keys were added since earlier versions."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first key in which two identities differ.

    Attributes:
        key: key of the identity.
        had: value in the original identity.
        now: value in the new identity.
        known: whether both identities have the key.
    """

    key: str
    had: Any
    now: Any
    known: bool

    def remedy(self, otherwise: str) -> str:
        """Advice to the user: the ``--set`` option with which it can resume, if there is one, or ``otherwise``."""
        if not (self.known and self.key.startswith(SETTING)):
            return otherwise
        return f"continue with --set {self.key.removeprefix(SETTING)}={option_text(self.had)}, or {otherwise}"


def first_difference(
    had: Mapping[str, Any], now: Mapping[str, Any], came_later: Mapping[str, Any] = NOTHING_LATER
) -> Difference | None:
    """The first key, in alphabetical order, in which two identities differ; None if they are equal.

    Args:
        had: the original identity, perhaps of an earlier version, as decoded from JSON.
        now: the new identity, as decoded from JSON.
        came_later: for keys that earlier versions did not have, the values that describe their runs.
    """
    had, now = {**came_later, **had}, {**came_later, **now}
    for key in sorted(had.keys() | now.keys()):
        if had.get(key) != now.get(key):
            return Difference(key, had.get(key), now.get(key), key in had and key in now)
    return None
