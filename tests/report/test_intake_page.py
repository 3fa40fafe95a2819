"""The page on a log: any log can be drawn, its text is escaped, and the page fits every window."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mclrec.data.columns import Columns
from mclrec.data.loading import prepare
from mclrec.data.sequences import SequenceData
from mclrec.report.intake_page import write_intake_page

ODD = np.array(["<b>x</b>", "[red]a", "é\x1b" * 40, "$\\frac$", "plain"])


def log(times: Any, size: int = 40) -> SequenceData:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"user": rng.choice(ODD, size), "item": rng.choice(ODD, size)})
    if times is None:
        return prepare(frame, min_count=1, columns=Columns(file_order=True))
    return prepare(frame.with_columns(pl.Series("time", times(rng, size))), min_count=1)


def page_of(data: SequenceData, path: Path) -> Path:
    assert data.taken is not None
    return write_intake_page(data.taken, data, path)


@pytest.mark.parametrize(
    ("times", "pictures"),
    [
        (None, 4),
        (lambda rng, size: np.full(size, 7), 4),
        (lambda rng, size: rng.integers(1_000_000_000, 1_700_000_000, size), 5),
        (lambda rng, size: rng.integers(-(2**62), 2**62, size), 5),
        (lambda rng, size: rng.normal(0, 1e17, size), 5),
    ],
)
def test_every_log_is_drawn(times: Any, pictures: int, tmp_path: Path) -> None:
    text = page_of(log(times), tmp_path / "log.html").read_text(encoding="utf-8")
    assert text.count("<svg") == pictures
    assert "<b>x</b>" not in text
    assert "\x1b" not in text


def test_one_row_is_drawn(tmp_path: Path) -> None:
    assert page_of(log(None, 1), tmp_path / "log.html").exists()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_fits_the_window(page: Any, tmp_path: Path, width: int) -> None:
    path = page_of(log(lambda rng, size: rng.integers(0, 9, size)), tmp_path / "log.html")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ink, paper = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
        assert ink != paper
