"""The commands, in the order of the help. Each parses its words, calls the library and prints the result."""

from __future__ import annotations

from mclrec.cli.app import app

# isort: off
from mclrec.cli.commands import inspect, train, update, tune, results, recommend, export, serve
from mclrec.cli.commands import reproduce, prepare, listing, demo
# isort: on

__all__ = [
    "app",
    "demo",
    "export",
    "inspect",
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
