"""Hyperparameter search: many runs of one model, compared by validation metric and never by the test items."""

from __future__ import annotations

from importlib.util import find_spec

from mclrec.errors import ConfigError

__all__ = ["check_installed"]


def check_installed() -> None:
    """Check that Optuna is installed.

    Raises:
        ConfigError: it is not.
    """
    if find_spec("optuna") is None:
        raise ConfigError('a search needs optuna: pip install "mclrec[tune]"')
