"""Re-evaluation of a run, by the same rules as at the end of its training or by others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from mclrec.arguments import check_callable, check_choice, check_flag, list_of
from mclrec.crashes import refusals_as_ours
from mclrec.data.item_categories import read_categories
from mclrec.data.loading import read_again
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Part, check_part, make_split
from mclrec.errors import ConfigError, DataError, MclrecWarning, OutputError
from mclrec.evaluation.protocol import Result, Seen
from mclrec.evaluation.ranking import evaluate
from mclrec.locks import is_held, lock_in
from mclrec.models.storage import load_model
from mclrec.runs.baselines import baseline_names, system_name, too_large
from mclrec.runs.comparison import same_times
from mclrec.runs.further_systems import check_metrics, further_metrics, passes
from mclrec.runs.run import Run, RunInfo, check_seen, open_run, ranks_path
from mclrec.runs.sliced_systems import check_slice_columns, column_slicings, result_slices
from mclrec.runs.training_run import resolve_device

__all__ = ["evaluate_run", "run_data", "same_log"]

_PATIENCE = 3.0
"""Seconds that an evaluation waits for others to finish writing their ranks."""


@refusals_as_ours()
def evaluate_run(
    run: Any,
    *,
    part: Part = "test",
    seen: Seen = "keep",
    ks: tuple[int, ...] | None = None,
    data: Any = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    metrics: Literal["accuracy", "all"] = "accuracy",
    categories: Any = None,
    slices: bool = False,
    slice_by: Any = None,
) -> Result:
    """Rank the held-out targets of the run's own data, and write the exact ranks to its directory.

    Args:
        run: the run, or its directory.
        part: validation or test targets.
        seen: keep (U) or drop (F) items of the history.
        ks: cutoffs of the metrics; if None, those of the paper that the catalogue allows.
        data: the data or their path, if they are no longer where the run read them, or came from memory.
        device: auto, cpu or cuda.
        progress: called with the number of targets done and the number of all targets; with ``metrics="all"`` or
            slices, each target counts once for every time that a system ranks it or lists items for it.
        metrics: ``all`` adds beyond-accuracy metrics of lists of 10 items (or of the first of ``ks``, if 10 is not
            among them), beside popularity and Markov: coverage, novelty, diversity and others, in ``result.further``.
        categories: table of the items' categories (csv, tsv or Parquet: item, category) for ``metrics="all"``.
        slices: whether to measure groups of targets too, beside popularity and Markov, in ``result.slices``: by length
            of the history, popularity, time since the last interaction, repeats, and users or items new to training.
        slice_by: one or more further columns of the log to slice by: targets are grouped by the value in their row.

    Raises:
        ModelFileError: the directory is damaged.
        DataError: the data are missing, or are not those the model was trained on; or the categories cannot be read, or
            the log has no such column.
        EvaluationError: a cutoff is not in 1..V, or the run is a final model, which has learnt from its targets.
        ConfigError: unknown part, rule, metrics or device, categories that no requested metric uses, or no
            cutoff in ``ks``.
    """
    run = open_run(run)
    check_part(part)
    check_seen(seen)
    check_choice("metrics", metrics, ("accuracy", "all"))
    table = check_metrics(metrics, categories)
    sliced = check_flag("slices", slices)
    columns = check_slice_columns(slice_by)
    sliced = sliced or bool(columns)
    cuts = None if ks is None else list_of("cutoffs", "ks", ks)
    if cuts == ():
        raise ConfigError("ks: the list is empty; give one or more cutoffs, or leave it out")
    if progress is not None:
        check_callable("progress", progress)
    place = resolve_device(device)
    run.info.refuse_final(run.directory, f", those of its {part} targets too")
    _check_unused(run)
    loaded, info = load_model(run.directory, place), run.info
    found = run_data(run, data)
    known = None if table is None else read_categories(table, found.item_ids)
    split = make_split(found, info.split)
    targets, done = split.targets(part), 0
    labelled = column_slicings(targets, columns, data)
    own = system_name(loaded.name, info.config)
    again = passes(own, targets) if metrics == "all" else 0
    again += len(baseline_names(own)) if sliced and not too_large(targets) else 0
    total = len(targets) * (1 + again)

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, total)

    result = evaluate(
        loaded.model,
        split,
        name=loaded.name,
        part=part,
        seen=seen,
        ks=cuts,
        seed=info.seed,
        device=place,
        progress=advance,
    )
    _keep_ranks(run, result, loaded.checksum)
    if metrics == "all":
        further = further_metrics(
            loaded.model, split, result, ks=cuts, categories=known, device=place, progress=advance
        )
        result = replace(result, further=further)
    if sliced:
        result = replace(result, slices=result_slices(split, result, labelled, ks=cuts, progress=advance))
    return result


def _check_unused(run: Run) -> None:
    """Check, before any work is done, that no training writes to the run.

    Raises:
        InUseError: a training writes to it.
    """
    if is_held(run.directory):  # an evaluation holds the lock only for a moment, to save its ranks
        lock_in(run.directory).acquire(_PATIENCE).release()


def _keep_ranks(run: Run, result: Result, weights: str) -> None:
    """Save the ranks; only warn if they cannot be written, since the result is useful without them."""
    protocol = result.protocol
    path = ranks_path(run.directory, protocol.part, protocol.label)
    try:
        with lock_in(run.directory).acquire(_PATIENCE):
            result.save_ranks(path, weights)
    except OutputError as problem:
        warnings.warn(f"the ranks could not be saved: {problem}", MclrecWarning, stacklevel=3)


def run_data(run: Run, data: Any = None, hint: str = "give its place with --data") -> SequenceData:
    """Return the data of a run as prepared for training, before anything is held out.

    Args:
        run: the run that was trained on them.
        data: the data or their path, if they are no longer where the run read them.
        hint: advice for the error message if they are missing.

    Raises:
        DataError: the data are missing, or are not those the model was trained on.
    """
    about = run.info.data
    try:
        found = read_again(about, about.name, data)
    except DataError as problem:
        raise DataError(f"{problem}; {run.directory} was trained on it: if it is elsewhere, {hint}") from None
    if found.fingerprint != about.fingerprint:
        raise DataError(
            f"{found.name}: not the data that {run.directory} was trained on: fingerprint "
            f"{found.fingerprint[:12]}, not {about.fingerprint[:12]}"
        )
    if not same_log(run.info, found):
        raise DataError(
            f"{found.name}: not the data that {run.directory} was trained on: the sequences are the same, but their "
            "times differ, and so does a split by time"
        )
    return found


def same_log(info: RunInfo, data: SequenceData) -> bool:
    """Whether a run was trained on these data: on the same sequences and, if its split looks at them, times."""
    return info.data.fingerprint == data.fingerprint and same_times(info, data.times_checksum)
