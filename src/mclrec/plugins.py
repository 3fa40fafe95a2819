"""Plug-ins: names that installed packages add through entry points; their modules are imported on first use."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mclrec.errors import ConfigError, MclrecWarning

__all__ = ["Plugins"]


class Plugins:
    """The entry points of one group. Each has the name that it adds, and the module that registers it when imported.

    Args:
        group: group of entry points, such as ``mclrec.models``.
        kind: what is added, for messages.
        registered: returns the entries registered so far, by name; the modules add to them.
    """

    def __init__(self, group: str, kind: str, registered: Callable[[], Mapping[str, Any]]) -> None:
        self._group, self._kind, self._registered = group, kind, registered

    @cached_property
    def _points(self) -> list[EntryPoint]:
        """The entry points. Installed distributions are searched once, when the entry points are first needed."""
        return list(entry_points(group=self._group))

    def names(self) -> list[str]:
        """All names: the registered ones, then those that installed packages add; imports nothing."""
        return list(dict.fromkeys([*self._registered(), *(point.name for point in self._points)]))

    def load(self, name: str) -> None:
        """Import the module that registers ``name``, if the name is not registered yet and a package adds it.

        Raises:
            ConfigError: the module cannot be imported, or does not register the name.
        """
        if name not in self._registered():
            for point in [point for point in self._points if point.name == name][:1]:
                self._import(point)

    def load_all(self) -> list[str]:
        """Import all modules and return the names then registered. A module that fails is skipped with a warning."""
        for point in self._points:
            try:
                self._import(point)
            except ConfigError as problem:
                warnings.warn(str(problem), MclrecWarning, stacklevel=3)
        return list(self._registered())

    def _import(self, point: EntryPoint) -> None:
        try:
            import_module(point.module)
        except Exception as problem:
            reason = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
        else:
            if point.name in self._registered():
                return
            reason = "it does not register that name"
        owner = point.dist.name if point.dist else "an installed package"
        raise ConfigError(f"{self._kind} {point.name!r} of {owner}: cannot use {point.module}: {reason}")
