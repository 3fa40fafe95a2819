"""Check whether a result on a log was obtained with the settings that its command resolves to today.

Request: ``data``, ``item`` (the column, or null), ``model``, ``settings`` (of the command), and ``config`` and
``training`` as the run saved them.
"""

from __future__ import annotations

from benchmarks.child import Document, Request, answer
from mclrec.data.columns import Columns
from mclrec.data.loading import load
from mclrec.data.split import leave_one_out
from mclrec.runs.recipe_choice import recipe_for, sizes_of
from mclrec.runs.saved_settings import other_setting

__all__ = ["measure"]


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes; ``other`` is a setting that differs, or null."""
    data = load(request["data"], columns=Columns(item=request["item"]))
    sizes = sizes_of(leave_one_out(data))
    recipe = recipe_for(request["model"], data, sizes, settings=request["settings"])
    return {"other": other_setting(recipe, request["config"], request["training"], "cpu")}


if __name__ == "__main__":
    answer(measure)
