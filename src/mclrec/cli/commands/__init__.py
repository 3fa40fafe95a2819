"""The commands, in the order of the help. Each parses its words, calls the library and prints the result."""

from __future__ import annotations

from mclrec.cli.app import app
from mclrec.cli.commands import (
    demo,
    export,
    listing,
    prepare,
    recommend,
    reproduce,
    results,
    serve,
    train,
    tune,
)  # isort: skip

__all__ = [
    "app",
    "demo",
    "export",
    "listing",
    "prepare",
    "recommend",
    "reproduce",
    "results",
    "serve",
    "train",
    "tune",
]
