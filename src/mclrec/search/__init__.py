"""Search: many runs of one model with other settings, by what they reach on validation, never on the test items."""

from __future__ import annotations

from importlib.util import find_spec

from mclrec.errors import ConfigError

__all__ = ["check_installed"]


def check_installed() -> None:
    """Whether Optuna is there.

    Raises:
        ConfigError: it is not.
    """
    if find_spec("optuna") is None:
        raise ConfigError('a search needs optuna: pip install "mclrec[tune]"')
