"""The notebooks of ``docs/notebooks``: scripts with cells, from which .ipynb files with outputs and pages are made.

A notebook is written as a script in which ``# %%`` begins a cell of Python and ``# %% [markdown]`` one of text. The
script is what is reviewed and linted. ``make notebooks`` runs the scripts and writes beside each an ``.ipynb`` with
what it printed and drew; ``make test-notebooks`` also runs them, and fails if one fails, takes too long, or has other
cells than its ``.ipynb``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "cells", "machine_paths", "main", "notebook", "page", "pictures", "run", "same_cells", "scripts", "written",
]  # fmt: skip

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
LONGEST = 120
"""Seconds of processor time that a notebook may take; the wall time is much longer on a shared core.

A notebook is meant to take a minute. The same one took 45 to 70 s of a core, depending on the machine and on what else
ran there, so the limit is twice as much: it finds a notebook that has grown, not a slow machine.
"""
PATIENCE = 900
"""Seconds of wall time after which a cell, or a kernel that does not start, is given up."""
_CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)
_TIMING_CELL: dict[str, Any] = {
    "cell_type": "code",
    "execution_count": None,
    "id": "time",
    "metadata": {},
    "outputs": [],
    "source": "import os as _os; print(sum(_os.times()[:4]))",
}
"""A cell that is run last and not written: it prints the processor time, including that of ended child processes."""
_OTHER = re.compile(r"\]\((\d-[\w-]+)\.ipynb")
"""A link to another notebook, which is a page on the site."""
_PATHS = re.compile(r"/(?:tmp|home|root|work|usr|opt|var|Users)/[^\s'\"]*")


def scripts() -> list[Path]:
    """The scripts of the notebooks, in their order."""
    return sorted(FOLDER.glob("[0-9]-*.py"))


def cells(script: str) -> list[dict[str, Any]]:
    """The cells of a script, as a notebook has them, without outputs."""
    parts = _CELL.split(script)
    found: list[dict[str, Any]] = []
    for number, (marker, text) in enumerate(zip(parts[1::2], parts[2::2], strict=True), start=1):
        lines = text.strip("\n").split("\n")
        kind = "markdown" if marker else "code"
        if marker:
            lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
        cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": _lines(lines)}
        found.append(cell if marker else {**cell, "execution_count": None, "outputs": []})
    return found


def _lines(lines: Sequence[str]) -> list[str]:
    return [line + "\n" for line in lines[:-1]] + [lines[-1]]


def notebook(script: str) -> dict[str, Any]:
    """A notebook of a script's cells, in the format 4.5."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells(script), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def run(script: Path, folder: Path) -> tuple[dict[str, Any], float]:
    """Run a script's cells with a Jupyter kernel in a folder; return the notebook with outputs, and its processor time.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    plain = json.dumps(notebook(script.read_text(encoding="utf-8")))
    made = nbformat.reads(plain, as_version=4)
    made["cells"].append(nbformat.from_dict(_TIMING_CELL))
    # Unix sockets: no port that other users of the machine could reach.
    kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(folder / ".kernel"))
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(made, km=kernel, timeout=PATIENCE, startup_timeout=PATIENCE, resources=place)
    client.execute()
    seconds = float(made["cells"].pop()["outputs"][0]["text"])
    done: dict[str, Any] = json.loads(nbformat.writes(made))
    for cell in done["cells"]:
        _clean(cell, folder)
    return done, seconds


def _clean(cell: dict[str, Any], folder: Path) -> None:
    """Keep what a reader wants to see: no times of execution, no error stream, no folder of this machine."""
    cell["metadata"] = {}
    if cell["cell_type"] != "code":
        return
    kept = [one for one in cell["outputs"] if one.get("name") != "stderr"]
    text = json.dumps(kept, ensure_ascii=False).replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")
    cell["outputs"] = json.loads(text)
    for output in cell["outputs"]:
        output.get("metadata", {}).clear()


def written(script: Path) -> dict[str, Any]:
    """The notebook beside a script, as it was last written."""
    found: dict[str, Any] = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))
    return found


def same_cells(script: Path) -> bool:
    """Whether the notebook beside a script has the script's cells."""
    ours, theirs = cells(script.read_text(encoding="utf-8")), written(script)["cells"]
    return [(one["cell_type"], one["source"]) for one in ours] == [
        (one["cell_type"], one["source"]) for one in theirs
    ]


def machine_paths(made: dict[str, Any]) -> list[str]:
    """Paths of a machine in a notebook's outputs; there should be none."""
    outputs = [cell.get("outputs", []) for cell in made["cells"]]
    return _PATHS.findall(json.dumps(outputs))


def page(made: dict[str, Any], name: str) -> str:
    """A notebook as a page of Markdown; its pictures are the files of `pictures`."""
    parts = [_text_of(cell, name, number) for number, cell in enumerate(made["cells"])]
    link = f"[The notebook]({name}.ipynb) runs in Jupyter, and so does [the script]({name}.py) that it is made of."
    text = _OTHER.sub(r"](\1.md", "\n\n".join(parts))
    title, _, rest = text.partition("\n")
    return f"{title}\n\n{link}\n{rest}\n"


def _text_of(cell: dict[str, Any], name: str, number: int) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    shown = [_output(output, f"{name}-{number}-{place}.png") for place, output in enumerate(cell["outputs"])]
    return "\n\n".join([f"```python\n{source}\n```", *(text for text in shown if text)])


def _output(output: dict[str, Any], picture: str) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f"![What the cell draws]({picture})"
    if "text/html" in data:
        html = re.sub(r"<style.*?</style>\s*", "", "".join(data["text/html"]), flags=re.DOTALL)
        return "\n".join(line.strip() for line in html.splitlines() if line.strip())
    text = "".join(output.get("text", data.get("text/plain", ""))).rstrip("\n")
    return f"```text\n{text}\n```" if text else ""


def pictures(made: dict[str, Any], name: str) -> dict[str, str]:
    """The pictures of a notebook, in base64 by the file names that `page` gives them."""
    return {
        f"{name}-{number}-{place}.png": "".join(output["data"]["image/png"])
        for number, cell in enumerate(made["cells"])
        for place, output in enumerate(cell.get("outputs", []))
        if "image/png" in output.get("data", {})
    }


def main(words: Sequence[str] | None = None) -> None:
    """Run the notebooks; write them, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="the beginnings of their names; all if none is given")
    parser.add_argument(
        "--write", action="store_true", help="write the .ipynb files; otherwise they are compared"
    )
    given = parser.parse_args(words)
    chosen = [one for one in scripts() if not given.names or one.name.startswith(tuple(given.names))]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    faults = [fault for script in chosen for fault in _turn(script, given.write)]
    if faults or not chosen:
        sys.exit("\n".join(faults) or "no notebook has such a name")


def _turn(script: Path, write: bool) -> list[str]:
    """Run one notebook and write or check it; return what is wrong with it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        made, seconds = run(script, Path(folder))
    print(
        f"{script.stem}: {seconds:.0f} s of a core, {time.monotonic() - started:.0f} s by the clock",
        flush=True,
    )
    faults = [f"{script.name}: contains {path}, a path of this machine" for path in machine_paths(made)]
    if write and not faults:
        text = json.dumps(made, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        script.with_suffix(".ipynb").write_text(text, encoding="utf-8")
    elif not same_cells(script):
        faults.append(f"{script.name}: its .ipynb has other cells; write it with: make notebooks")
    if seconds > LONGEST:
        faults.append(f"{script.name}: took {seconds:.0f} s of a core, more than {LONGEST}")
    return faults


if __name__ == "__main__":
    main()
