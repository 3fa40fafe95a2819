"""The commands, in the order of the help. Each parses its arguments, calls the library and prints the result."""

from __future__ import annotations

from mclrec.cli.app import app

# isort: off
from mclrec.cli.commands import (
    inspect,
    train,
    update,
    tune,
    results,
    judge,
    backtest,
    recommend,
    export,
    serve,
)
from mclrec.cli.commands import reproduce, prepare, convert, listing, demo
# isort: on

__all__ = [
    "app",
    "backtest",
    "convert",
    "demo",
    "export",
    "inspect",
    "judge",
    "listing",
    "prepare",
    "recommend",
    "reproduce",
    "results",
    "serve",
    "train",
    "tune",
    "update",
]
