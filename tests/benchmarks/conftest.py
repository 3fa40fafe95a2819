"""Fixtures: a small benchmark session, and a record of its children instead of running them."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.processes import Child, Measurement
from benchmarks.session import QUICK, Session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(QUICK, threads=1, scratch=tmp_path, console=Console(file=StringIO()))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """The children that would have run; each returns a document without a device."""
    children: list[Child] = []

    def run(child: Child, **_: Any) -> Measurement:
        children.append(child)
        return Measurement({"device": None}, 1.0, 1.0, 10**9)

    monkeypatch.setattr("benchmarks.session.run_child", run)
    return children


@pytest.fixture
def measured() -> Callable[..., Measurement]:
    def make(seconds: float = 1.0, **document: Any) -> Measurement:
        return Measurement(document, seconds, seconds, 10**9)

    return make
