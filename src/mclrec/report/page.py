"""The page: sections with tables, pictures and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from mclrec.errors import ConfigError
from mclrec.experiments.sheet import Sheet
from mclrec.files import write_text

if TYPE_CHECKING:
    import jinja2

__all__ = ["Section", "write_page"]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        text: paragraphs.
        sheets: tables.
        pictures: ``svg`` elements.
    """

    title: str
    text: Sequence[str] = ()
    sheets: Sequence[Sheet] = field(default=())
    pictures: Sequence[str] = ()


def write_page(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write one HTML file that needs no other.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    text = _template().render(title=title, sections=sections)
    write_text(path, text)
    return path


def _template() -> jinja2.Template:
    try:
        import jinja2
    except ImportError:
        raise ConfigError('a report needs jinja2 and matplotlib: pip install "mclrec[report]"') from None
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((files(__package__) / "page.html").read_text(encoding="utf-8"))
