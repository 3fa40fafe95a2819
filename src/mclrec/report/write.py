"""The report on whatever is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mclrec.errors import ConfigError

if TYPE_CHECKING:
    from mclrec.search.tune import Outcome

__all__ = ["write_report", "write_search_report"]

_EXTRA = 'a report needs jinja2 and matplotlib: pip install "mclrec[report]"'


def write_search_report(outcome: Outcome) -> Path:
    """Write the report on a search into its folder.

    Raises:
        ConfigError: matplotlib or jinja2 is not installed.
    """
    try:
        from mclrec.report.search import report_search
    except ImportError as problem:
        if problem.name and problem.name.startswith("mclrec"):
            raise
        raise ConfigError(_EXTRA) from None
    return report_search(outcome, outcome.folder / "report.html")


def write_report(places: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report on runs, or on the campaign under one directory.

    Args:
        places: directories of runs, or one that `mclrec reproduce` has written to.
        out: HTML file; ``report.html`` in the first directory if None.

    Raises:
        ConfigError: matplotlib or jinja2 is not installed; a directory is neither.
    """
    try:
        from mclrec.report.runs import report_runs
        from mclrec.report.targets import report_outcomes
    except ImportError as problem:
        if problem.name and problem.name.startswith("mclrec"):
            raise
        raise ConfigError(_EXTRA) from None
    from mclrec.experiments.reproduce import load_outcomes

    path = out or places[0] / "report.html"
    if len(places) == 1 and not (places[0] / "config.json").exists():
        return report_outcomes(load_outcomes(places[0]), places[0] / "cells", path)
    return report_runs(places, path)
