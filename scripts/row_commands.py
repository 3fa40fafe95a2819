"""Commands of published rows: in the form in which others run them, and the recipes that they resolve to today."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mclrec.data.datasets import dataset, named_by
from mclrec.experiments.data_names import dataset_at
from mclrec.recipes import Recipe, default_recipe, parse_setting, resolve
from mclrec.recipes.auto import DataSizes
from mclrec.runs.run import DataInfo

_AUTO_PRECISION = "precision=auto"


def portable_command(command: str, name: str, data: DataInfo | None = None) -> str:
    """A command as others can run it, without folders of the machine that ran it.

    Its output goes to ``runs/NAME``. A data file is replaced with the name of the data set in it, if it has one and is
    then trained by the same recipe; else with its file name, as a file in the reader's working directory.
    """
    words, comment = _split_comment(command)
    if data is not None and data.place in words:
        known = named_by(data.fingerprint)
        same = known is not None and ("--recipe" in words or dataset(known).auto)
        words[words.index(data.place)] = known if known and same else portable_place(data.place)
    if "--out" in words:
        words[words.index("--out") + 1] = f"runs/{name}"
    return shlex.join(words) + comment


def _split_comment(command: str) -> tuple[list[str], str]:
    """Words of a command, and the comment at its end (such as which users it is about) with the blanks before it."""
    for mark in re.finditer(r"\s+#", command):
        try:
            return shlex.split(command[: mark.start()]), command[mark.start() :]
        except ValueError:  # the mark is inside quotes
            continue
    return shlex.split(command), ""


def portable_place(place: str) -> str:
    """Place of data for others: a name or an address is kept, a file loses its folders."""
    return place if "://" in place else Path(place).name


def decided_command(command: str, row: Mapping[str, Any]) -> str:
    """A command that trains in the same way on every machine.

    ``precision = auto``, in the command or in its recipe, depends on the machine that runs it; the
    returned command states the precision with which the row was trained.

    Args:
        command: from `portable_command`.
        row: the published run, or what will become it: ``training`` and, for the recipe ``auto``, ``sizes``.
    """
    if recipe_of({**row, "command": command}).training.precision != "auto":
        return command
    words, comment = _split_comment(command)
    decided = f"precision={row['training']['precision']}"
    if _AUTO_PRECISION in words:
        words[words.index(_AUTO_PRECISION)] = decided
        return shlex.join(words) + comment
    end = words.index("--out") if "--out" in words else len(words)
    return shlex.join([*words[:end], "--set", decided, *words[end:]]) + comment


def recipe_of(row: Mapping[str, Any]) -> Recipe:
    """The recipe that the command of a published run resolves to today.

    Raises:
        ConfigError: the command has a section or setting that no longer exists.
    """
    words, _ = _split_comment(row["command"])
    given = {option: words[place + 1] for place, option in enumerate(words[:-1]) if option.startswith("--")}
    changes = dict(parse_setting(words[place + 1]) for place, word in enumerate(words) if word == "--set")
    sizes = DataSizes(**row["sizes"]) if "sizes" in row else None
    model, data = given.get("--model", "mclrec"), dataset_at(words[2])
    return resolve(model, data, given.get("--recipe", default_recipe(model, data)), changes, sizes)
