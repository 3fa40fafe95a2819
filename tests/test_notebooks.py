"""The committed notebooks match their scripts, have outputs without machine paths, and become pages."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from scripts import notebooks

SCRIPTS = notebooks.scripts()
SCRIPT = """# %% [markdown]
# # Title
#
# Words, and [another](2-another.ipynb#part).

# %%
print("x")
# a comment

# %% [markdown]
# End.
"""


def test_a_script_becomes_cells() -> None:
    first, code, last = notebooks.cells(SCRIPT)
    assert "".join(first["source"]) == "# Title\n\nWords, and [another](2-another.ipynb#part)."
    assert (code["cell_type"], "".join(code["source"])) == ("code", 'print("x")\n# a comment')
    assert last["cell_type"] == "markdown"
    assert len({cell["id"] for cell in (first, code, last)}) == 3


def test_a_notebook_becomes_a_page_with_pictures() -> None:
    made = notebooks.notebook(SCRIPT)
    png = base64.b64encode(b"png").decode()
    made["cells"][1]["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": ["x\n"]},
        {"output_type": "display_data", "data": {"image/png": png, "text/plain": ["<Figure>"]}},
        {"output_type": "execute_result", "data": {"text/html": ["<style>a</style>\n", "<b>1</b>\n"]}},
    ]
    text = notebooks.page(made, "1-title")
    assert text.startswith("# Title\n\n[The notebook](1-title.ipynb)")
    assert "[another](2-another.md#part)" in text
    assert "```text\nx\n```\n\n![What the cell draws](1-title-1-1.png)\n\n<b>1</b>" in text
    assert notebooks.pictures(made, "1-title") == {"1-title-1-1.png": png}


def test_a_path_of_a_machine_is_found() -> None:
    made = notebooks.notebook(SCRIPT)
    made["cells"][1]["outputs"] = [
        {"output_type": "stream", "text": ["wrote /home/me/run, and runs/1 and 1/2\n"]}
    ]
    assert notebooks.machine_paths(made) == ["/home/me/run,"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_committed_notebook_is_what_its_script_says(script: Path) -> None:
    made = notebooks.written(script)
    assert notebooks.same_cells(script), "write it anew: make notebooks"
    assert not notebooks.machine_paths(made)
    outputs: list[dict[str, Any]] = [one for cell in made["cells"] for one in cell.get("outputs", [])]
    assert outputs
    assert not [one for one in outputs if one["output_type"] == "error" or one.get("name") == "stderr"]
    assert len(notebooks.pictures(made, script.stem)) >= 2
    assert len(json.dumps(made)) < 600_000
    [title] = [line for line in script.read_text(encoding="utf-8").splitlines() if line.startswith("# # ")]
    assert title


def test_the_site_has_each_of_them() -> None:
    nav = (notebooks.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for script in SCRIPTS:
        assert f"- notebooks/{script.stem}.md\n" in nav
