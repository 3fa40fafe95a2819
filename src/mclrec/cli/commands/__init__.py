"""The commands, in the order of the help. Each parses its words and calls one function of the library."""

from __future__ import annotations

from mclrec.cli.app import app

from mclrec.cli.commands import train, tune, results, recommend, export, serve, reproduce, prepare, catalogue  # isort: skip

__all__ = [
    "app",
    "catalogue",
    "export",
    "prepare",
    "recommend",
    "reproduce",
    "results",
    "serve",
    "train",
    "tune",
]
