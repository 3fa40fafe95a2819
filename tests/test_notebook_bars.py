"""Progress bars in a notebook: one output, which is redrawn, and cleared when the work is done."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from mclrec.progress import Display, quietly

CELL = """import mclrec
run = mclrec.train("complete-journey", "sasrec", out="run", epochs=1)"""


class Output:
    """Stand-in for the output of a cell, with the methods of IPython's display handle."""

    def __init__(self) -> None:
        self.drawn: list[dict[str, str]] = []
        self.has_drawn = threading.Event()

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Output:
        assert display_id
        self.update(data, raw=raw)
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.drawn.append(data)
        self.has_drawn.set()


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Output:
    output = Output()
    shown = SimpleNamespace(display=output.display)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=shown))
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return output


def display() -> Display:
    return Display(Console(file=io.StringIO(), force_jupyter=True))


def test_bars_are_drawn_into_one_output_and_go(output: Output) -> None:
    with display() as bars:
        bars.update(bars.add("users <b>", 20), advance=5)
        assert output.has_drawn.wait(20)
    assert "users <b>" in output.drawn[0]["text/plain"]
    assert "5/20" in output.drawn[0]["text/plain"]
    assert "users &lt;b&gt;" in output.drawn[0]["text/html"]
    assert output.drawn[-1] == {"text/plain": ""}


def test_what_is_quick_or_quiet_makes_no_output(output: Output) -> None:
    with display():
        pass
    with quietly(), display() as bars:
        bars.update(bars.add("users", 20), advance=5)
    assert output.drawn == []


def test_a_kernel_shows_the_bars_of_a_training(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    manager = pytest.importorskip("jupyter_client.manager")
    drawn: list[str] = []

    class Client(nbclient.NotebookClient):  # type: ignore[misc, name-defined]
        def process_message(self, message: dict[str, Any], *place: Any) -> Any:
            if message["msg_type"] in {"display_data", "update_display_data"}:
                drawn.append(message["content"]["data"]["text/plain"])
            return super().process_message(message, *place)

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    kernel = manager.AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(tmp_path / "kernel"))
    Client(made, km=kernel, resources={"metadata": {"path": str(tmp_path)}}, timeout=300).execute()
    assert any("train epoch" in text and "at most 1 epoch" in text for text in drawn)
    assert "━" not in str([output["data"]["text/plain"] for output in made.cells[0].outputs])
