"""Figures as SVG text, the same for the same figure wherever it is drawn."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["svg_text"]


def svg_text(figure: Figure, *, transparent: bool = False) -> str:
    """A figure as an ``svg`` element, whose text stays text.

    Args:
        figure: the figure.
        transparent: whether it has no background of its own.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mclrec", "font.family": "sans-serif"}):
        figure.savefig(
            buffer, format="svg", transparent=transparent, metadata={"Date": None, "Creator": None}
        )
    text = buffer.getvalue()
    return text[text.index("<svg") :]
