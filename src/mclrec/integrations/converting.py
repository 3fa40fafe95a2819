"""Convert a RecBole checkpoint into an mclrec run: its encoder as a SASRec, the items of its log, its metrics."""

from __future__ import annotations

import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from mclrec.arguments import check_choice, list_of, path_of, text_of, whole_number
from mclrec.crashes import refusals_as_ours
from mclrec.data.loading import is_prepared, load
from mclrec.data.origin import Reading
from mclrec.data.packed import IntArray
from mclrec.data.sequences import SequenceData
from mclrec.data.split import make_split
from mclrec.errors import ConfigError, ModelFileError
from mclrec.evaluation.protocol import library_versions
from mclrec.integrations.checkpoints import Checkpoint, read_checkpoint
from mclrec.integrations.item_rows import rows_by_appearance, rows_by_file, rows_by_ids
from mclrec.integrations.recbole_config import translate
from mclrec.integrations.sasrec_weights import rows_of_items, sasrec_of, sizes_of
from mclrec.json_files import write_json
from mclrec.machine import processor
from mclrec.models.directory import METRICS, TENSORS, weights_checksum
from mclrec.models.storage import FORMAT, save_model
from mclrec.recipes import Recipe
from mclrec.runs.measurement import measure
from mclrec.runs.run import DataInfo, RecipeInfo, Run, RunInfo, RunRecord
from mclrec.runs.run_directory import RunDirectory
from mclrec.sealed_json import sealed
from mclrec.training.config import TrainingConfig

__all__ = ["convert"]

_SPLIT = "leave-one-out"
_ORDERS = ("appearance", "ids")


@refusals_as_ours()
def convert(
    checkpoint: str | Path,
    data: Any,
    out: str | Path,
    *,
    items: Literal["appearance", "ids"] | str | Path = "appearance",
    heads: int | None = None,
    leave_out: tuple[str, ...] = (),
    reading: Reading | None = None,
) -> Run:
    """Convert a checkpoint of RecBole's SASRec, or of a model with its encoder (MCLRec, CL4SRec, DuoRec), to a run.

    No code pickled in the file is run. The run can recommend, be evaluated, exported and served like any other.

    Args:
        checkpoint: ``.pth`` file of RecBole or of the official MCLRec, or a bare state dict.
        data: the log that the model was trained on; see `mclrec.load`.
        out: directory of the run; new or empty.
        items: which item each row of the item table belongs to: ``appearance``, RecBole's numbering, ``ids`` if item i
            has row i, or a file with the items' ids, one per line.
        heads: attention heads, if the file has no configuration; 2, RecBole's default, if None.
        leave_out: prefixes of the names of tensors that scores do not depend on.
        reading: how the log is read; by default as in the file's configuration. Not used for prepared data.

    Raises:
        MclrecError: the file would run code, is not such a checkpoint, or does not fit the log.
    """
    path, place = path_of("checkpoint", checkpoint), RunDirectory(path_of("out", out), resume=False)
    known = None if heads is None else whole_number("heads", heads, 1)
    unused = tuple(text_of("leave_out", one) for one in list_of("prefixes", "leave_out", leave_out))
    if "" in unused:
        raise ConfigError("--leave-out: an empty prefix would leave out all tensors")
    found = read_checkpoint(path)
    tensors = {name: one for name, one in found.tensors.items() if not name.startswith(unused)}
    place.claim_given()
    try:
        sizes = _told(path, sizes_of, tensors, found.values, known)
        how = reading or Reading()
        if not is_prepared(data):
            how = how.filled(_reading_of(found))
        log = load(data, reading=how)
        rows = _rows(items, data, how, log)
        _told(path, rows_of_items, tensors, log.num_items)
        model = _told(path, sasrec_of, tensors, sizes, rows)
        words = [*how.words(), *_words(items, known, unused)]
        return _save(place.claim(""), model, log, path, found, words)
    finally:
        place.release()


def _told(path: Path, function: Any, *given: Any) -> Any:
    """Call a function, and name the file in its errors."""
    try:
        return function(*given)
    except ModelFileError as problem:
        raise ModelFileError(f"{path}: {problem}") from None


def _reading_of(found: Checkpoint) -> Reading:
    """How RecBole read the log, as far as the checkpoint tells; the defaults if it holds weights alone."""
    if not found.settings:
        return Reading()
    try:
        return translate(
            {key: value for key, value in found.settings.items() if key != "model"}, "sasrec"
        ).reading
    except ConfigError:  # a value that has no counterpart here; the number of items is compared in any case
        return Reading(min_count=1)


def _rows(items: str | Path, data: Any, reading: Reading, log: SequenceData) -> IntArray:
    """The row of each item in the checkpoint's table."""
    if items == "ids":
        return rows_by_ids(log.item_ids)
    if items != "appearance":
        if not Path(items).exists() and isinstance(items, str) and not Path(items).suffix:
            check_choice("items", items, _ORDERS)
        return rows_by_file(Path(items), log.item_ids)
    if log.origin is None or log.origin.kind not in ("file", "memory") or isinstance(data, SequenceData):
        raise ConfigError(
            f"{log.name}: prepared data do not tell the order in which RecBole met the items; "
            "give the log, or use --items"
        )
    return rows_by_appearance(data, reading, log)


def _words(items: str | Path, heads: int | None, leave_out: tuple[str, ...]) -> list[str]:
    """The command's options for those arguments that differ from their defaults."""
    ordered = [] if items == "appearance" else ["--items", str(items)]
    headed = [] if heads is None else ["--heads", str(heads)]
    return [*ordered, *headed, *(word for prefix in leave_out for word in ("--leave-out", prefix))]


def _save(
    directory: Path, model: Any, data: SequenceData, path: Path, found: Checkpoint, options: list[str]
) -> Run:
    """Save and measure the run; ``options`` are those of the recorded command besides data and output."""
    began = time.perf_counter()
    split = make_split(data, _SPLIT)
    recipe = Recipe("sasrec", "converted", f"weights of {path.name}", model.config, TrainingConfig(), None)
    words = [
        "mclrec",
        "convert",
        str(path),
        "--data",
        data.provenance.place,
        *options,
        "--out",
        str(directory),
    ]
    info = RunInfo(
        format=FORMAT,
        model=recipe.model,
        config=model.config.model_dump(mode="json", by_alias=True),
        num_items=model.num_items,
        num_users=0,
        recipe=RecipeInfo(section=recipe.section, source=recipe.source),
        training=recipe.training.model_dump(mode="json"),
        seed=_seed(found),
        split=_SPLIT,
        warm_start=None,
        data=DataInfo(name=data.name, **data.provenance.model_dump()),
        command=shlex.join(words),
        versions=library_versions(),
    )
    save_model(
        directory,
        name=recipe.model,
        model=model,
        items=data.item_ids,
        counts=split.training.popularity,
        extra=info.extra(),
    )
    results = measure(model, split, recipe, directory, info.seed, torch.device("cpu"))
    record = RunRecord(
        status="finished",
        best_epoch=0,
        best_validation=None,
        epochs=0,
        training_seconds=0.0,
        seconds=round(time.perf_counter() - began, 1),
        ended=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        device="cpu",
        processor=processor(torch.device("cpu")),
        threads=torch.get_num_threads(),
        processes=1,
        weights=weights_checksum(directory / TENSORS),
        results=results,
    )
    write_json(directory / METRICS, sealed(record.model_dump(mode="json")))
    return Run(directory)


def _seed(found: Checkpoint) -> int:
    seed = found.values.get("seed", 0)
    return seed if isinstance(seed, int) and 0 <= seed < 2**32 else 0
