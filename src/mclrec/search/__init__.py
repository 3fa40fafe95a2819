"""Hyperparameter search: many runs of one model, compared by validation metric and never on the test items."""

from __future__ import annotations

from mclrec.extras import require

__all__ = ["check_installed"]


def check_installed() -> None:
    """Check that Optuna is installed.

    Raises:
        ConfigError: it is not.
    """
    require("a search")
