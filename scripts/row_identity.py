"""Find the row of the published results that a run belongs to, and check its data, split and settings against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from mclrec.data.datasets import dataset, is_dataset, looks_like_path, named_by
from mclrec.data.split import make_split
from mclrec.errors import MclrecError, quoted
from mclrec.json_files import read_json
from mclrec.recipes import resolve, section_names
from mclrec.recipes.auto import AUTO, DataSizes
from mclrec.runs.recipe_choice import sizes_of
from mclrec.runs.remeasure import run_data
from mclrec.runs.run import LABELS, Run
from mclrec.runs.saved_settings import other_setting

SPLIT = "leave-one-out"
"""The paper's split, with which all rows are measured."""


_known_sizes: dict[tuple[str, str], DataSizes] = {}
"""Sizes by data fingerprint and split."""


class NotPublishableError(MclrecError):
    """Raised for a run or campaign that cannot be a row of the published results."""


def system(info: Mapping[str, Any]) -> str:
    """Name of a system: the model, with the section of its recipes if that is not the data set's own."""
    section, name, model = info["recipe"]["section"], info["data"]["name"], str(info["model"])
    return model if section in (name, _own_section(model, name)) else f"{model} ({section})"


def model_name(info: Mapping[str, Any]) -> str:
    """Name of a system in file names: ``mclrec``, or ``mclrec-relative`` for a section of its recipes."""
    return system(info).replace(" (", "-").rstrip(")")


@cache
def _own_section(model: str, name: str) -> str:
    return resolve(model, name, None).section


def check_row(row: Mapping[str, Any], place: object) -> None:
    """Refuse a run that cannot be a row of the results: other data than those of its name, another split, a warm start.

    Args:
        row: the configuration of a run, or a published row, which has the same keys.
        place: what messages call it.

    Raises:
        NotPublishableError: it cannot be a row.
    """
    check_training(row, place)
    name, fingerprint = row["data"]["name"], row["data"]["fingerprint"]
    if is_dataset(name) and dataset(name).fingerprint == fingerprint:
        return
    known = named_by(fingerprint)
    if known is not None:
        raise NotPublishableError(
            f"{place}: the data {quoted(name)} are those of {known}: train with that name to have a row there"
        )
    what = "are not those of the data set of that name" if is_dataset(name) else "are not a named data set"
    raise NotPublishableError(f"{place}: the data {quoted(name)} {what}; only such data have published rows")


def check_training(row: Mapping[str, Any], place: object) -> None:
    """Refuse a run that no published number may come from, whatever its data; arguments as in `check_row`.

    Raises:
        NotPublishableError: a final model, a warm start, another split than the paper's, or a recipe in a file.
    """
    if row.get("measured_by"):
        raise NotPublishableError(
            f"{place}: is a final model, which was not measured; publish {row['measured_by']['run']}"
        )
    if row.get("warm_start"):
        raise NotPublishableError(f"{place}: started from {row['warm_start']}; rows are trained from scratch")
    if row["split"] != SPLIT:
        raise NotPublishableError(f"{place}: its split is {row['split']}; rows are measured by {SPLIT}")
    if row["recipe"]["section"] not in section_names(row["model"]):
        raise NotPublishableError(
            f"{place}: its recipe {quoted(row['recipe']['section'])} is not a section of the recipes of "
            f"{row['model']}; make it one, so that others can train it"
        )


def check_scope(place: object, scope: Mapping[str, Any]) -> None:
    """Refuse a campaign on data that are not a named data set, or with a recipe in a file.

    Args:
        place: what messages call it.
        scope: scope of the campaign, as in its file.

    Raises:
        NotPublishableError: the campaign is of that kind.
    """
    for data in scope["datasets"]:
        if not is_dataset(data):
            raise NotPublishableError(
                f"{place}: {quoted(data)} is not a named data set; only campaigns on such data are published"
            )
    recipe = scope.get("recipe") or ""
    for name in [recipe] if isinstance(recipe, str) else recipe.values():
        if looks_like_path(name):
            raise NotPublishableError(
                f"{place}: the recipe {quoted(name)} is a file; only sections of the recipes are published"
            )


def row_name(run: Run, folder: Path) -> str:
    """Name of the row that a run belongs to, without its seed, such as beauty-mclrec or beauty-sasrec-relative.

    Args:
        run: run to be published.
        folder: folder of the results.

    Raises:
        NotPublishableError: the run cannot be a row, is not finished or measured, or has other settings than its row.
        ModelFileError: there is no such run, or it is damaged.
    """
    _check_run(run)
    info = run.info.model_dump(mode="json")
    name = f"{info['data']['name']}-{model_name(info)}"
    published = sorted(folder.glob(f"{name}-seed[0-9]*.json"))
    _check_settings(run, [{**read_json(path), "file": path.name} for path in published])
    return name


def _check_run(run: Run) -> None:
    check_row(run.info.model_dump(mode="json"), run.directory)
    if not run.record.finished:
        raise NotPublishableError(f"{run.directory}: is not finished; mclrec train --resume ends it")
    if not run.record.test.keys() >= set(LABELS):
        raise NotPublishableError(f"{run.directory}: was not measured on the test targets")


def sizes_of_run(run: Run) -> DataSizes | None:
    """Sizes of a run's data, from which its recipe chose settings; None if the recipe does not use them.

    Raises:
        DataError: the data are missing.
    """
    info = run.info
    if info.recipe.section != AUTO:
        return None
    key = info.data.fingerprint, info.split
    if key not in _known_sizes:  # the runs of a campaign share their data
        _known_sizes[key] = sizes_of(make_split(run_data(run), info.split))
    return _known_sizes[key]


def recorded_sizes(run: Run) -> dict[str, dict[str, Any]]:
    """The sizes as a field of a published record; empty if the recipe does not use them."""
    sizes = sizes_of_run(run)
    return {} if sizes is None else {"sizes": asdict(sizes)}


def _check_settings(run: Run, published: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a run whose settings differ from its row's, as after ``--set``, which the row's name would not show.

    The row's settings are those of the published rows of that name, or else those of its section of the recipes, except
    for the precision, which depends on the machine.
    """
    ours = run.info.config | run.info.training
    for row in published:
        theirs = row["config"] | row["training"]
        other = [key for key in theirs if key in ours and ours[key] != theirs[key]]
        if other:
            raise NotPublishableError(
                f"{run.directory}: {other[0]} = {ours[other[0]]}, in {row['file']} {theirs[other[0]]}: a row has the "
                "same settings with every seed; give these a section in the recipes, or remove the files that are "
                "replaced"
            )
    if not published:
        _check_section(run)


def _check_section(run: Run) -> None:
    info = run.info
    recipe = resolve(info.model, info.data.name, info.recipe.section, {}, sizes_of_run(run))
    decided = {key: info.training[key] for key in ("precision",) if key in info.training}
    by_section = replace(recipe, training=recipe.training.model_copy(update=decided))
    other = other_setting(by_section, info.config, info.training, run.record.device)
    if other is not None:
        raise NotPublishableError(
            f"{run.directory}: not trained with the settings of the section {info.recipe.section}: {other}; give these "
            "a section in the recipes"
        )
