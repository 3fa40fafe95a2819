"""Reports as one HTML file: the page, its sections, and the choice of the report for given directories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from mclrec.experiments.results_table import ResultTable
from mclrec.extras import require
from mclrec.files import check_writable, write_text

if TYPE_CHECKING:
    import jinja2

    from mclrec.report.example_lists import Example
    from mclrec.search.tuning import Outcome

__all__ = ["Section", "write_page", "write_report", "write_search_report"]


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page.

    Attributes:
        title: its heading.
        text: paragraphs.
        tables: its tables.
        pictures: ``svg`` elements.
        examples: users with their histories and recommendations.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[ResultTable] = field(default=())
    pictures: Sequence[str] = ()
    examples: Sequence[Example] = ()


def write_report(places: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report on some runs, or on a campaign.

    Args:
        places: directories of runs, or the output folder of one `mclrec reproduce`.
        out: HTML file; ``report.html`` in the first directory if None.

    Raises:
        ConfigError: matplotlib or jinja2 is not installed; a directory is neither of the two.
    """
    require("a report")
    path = out or places[0] / "report.html"
    check_writable(path)
    from mclrec.experiments.reproduction import load_outcomes, runs_folder
    from mclrec.report.run_sections import report_runs
    from mclrec.report.target_sections import report_outcomes

    if len(places) == 1 and not (places[0] / "config.json").exists():
        return report_outcomes(load_outcomes(places[0]), runs_folder(places[0]), path)
    return report_runs(places, path)


def write_search_report(outcome: Outcome) -> Path:
    """Write the report on a search into the search's folder.

    Raises:
        ConfigError: matplotlib or jinja2 is not installed.
    """
    require("a report")
    from mclrec.report.search_sections import report_search

    return report_search(outcome, outcome.folder / "report.html")


def write_page(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write sections as one HTML file that loads no other file.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    text = _template().render(title=title, sections=sections)
    write_text(path, text)
    return path


def _template() -> jinja2.Template:
    require("a report")
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((files(__package__) / "page.html").read_text(encoding="utf-8"))
