"""rich's progress bars in a notebook, which is not a terminal: one output that is redrawn, without widgets."""

from __future__ import annotations

import io
import threading
from importlib import import_module
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn

__all__ = ["NotebookBars"]

_WIDTH = 100
_SECONDS = 0.5
_HTML = '<pre style="white-space:pre;overflow-x:auto;line-height:normal">{code}</pre>'


class NotebookBars(Progress):
    """Bars that a thread draws every half a second into an output of the running cell, which is empty at the end.

    Work that takes less than that makes no output.
    """

    def __init__(self, *columns: ProgressColumn) -> None:
        self._paper = Console(
            file=io.StringIO(),
            width=_WIDTH,
            record=True,
            force_terminal=True,
            force_jupyter=False,
            color_system="256",
        )
        super().__init__(*columns, console=self._paper, auto_refresh=False, expand=True)
        self._handle: Any = None
        self._ended = threading.Event()
        self._painter = threading.Thread(target=self._paint, name="mclrec-bars", daemon=True)

    def start(self) -> None:
        """Start drawing."""
        self._painter.start()

    def stop(self) -> None:
        """Stop drawing and clear the output."""
        self._ended.set()
        self._painter.join()
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)

    def refresh(self) -> None:
        """Do nothing: the thread draws."""

    def _paint(self) -> None:
        display = import_module("IPython.display").display
        while not self._ended.wait(_SECONDS):
            if self._handle is not None:
                self._handle.update(self._drawn(), raw=True)
            elif any(task.visible for task in self.tasks):
                self._handle = display(self._drawn(), raw=True, display_id=True)

    def _drawn(self) -> dict[str, str]:
        """The bars as text and as HTML."""
        self._paper.print(self.get_renderable())
        html = self._paper.export_html(inline_styles=True, code_format=_HTML, clear=False)
        return {"text/plain": self._paper.export_text(clear=True), "text/html": html}
