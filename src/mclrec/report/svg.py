"""Figures as reproducible SVG text: the same figure gives the same text wherever it is drawn."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["svg_text"]


def svg_text(figure: Figure, *, transparent: bool = False) -> str:
    """Render a figure as an ``svg`` element, keeping text as text.

    Args:
        figure: the figure.
        transparent: whether to leave out the background.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mclrec", "font.family": "sans-serif"}):
        figure.savefig(
            buffer, format="svg", transparent=transparent, metadata={"Date": None, "Creator": None}
        )
    text = buffer.getvalue()
    return text[text.index("<svg") :]
