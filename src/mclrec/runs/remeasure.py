"""Measure a run again, or otherwise than it was measured at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mclrec.data.loading import read_again
from mclrec.data.origin import Origin
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Part, make_split
from mclrec.errors import DataError
from mclrec.evaluation.protocol import Result, Seen
from mclrec.evaluation.ranking import evaluate
from mclrec.models.storage import load_model
from mclrec.runs.run import ranks_path
from mclrec.runs.training_run import resolve_device

__all__ = ["evaluate_run", "run_data"]


def evaluate_run(
    directory: str | Path,
    *,
    part: Part = "test",
    seen: Seen = "keep",
    ks: tuple[int, ...] | None = None,
    data: Any = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Rank the held-out targets of the run's own data; the exact ranks are written into its directory.

    Args:
        directory: the run.
        part: validation or test targets.
        seen: keep (U) or drop (F) items of the history.
        ks: cuts of the metrics; if None, the paper's that the catalogue allows.
        data: the data, or where they are, if not where they were.
        device: auto, cpu or cuda.
        progress: called with targets done and their number.

    Raises:
        ModelFileError: the directory is damaged.
        DataError: the data are missing, or not what the model was trained on.
        EvaluationError: a cut is not in 1..V.
    """
    directory, place = Path(directory), resolve_device(device)
    loaded = load_model(directory, place)
    found = run_data(directory, loaded.info, data)
    split = make_split(found, loaded.info["split"])
    targets, done = split.targets(part), 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, len(targets))

    result = evaluate(
        loaded.model,
        split,
        name=loaded.name,
        part=part,
        seen=seen,
        ks=ks,
        seed=loaded.info["seed"],
        device=place,
        progress=advance,
    )
    result.save_ranks(ranks_path(directory, part, result.protocol.label))
    return result


def run_data(
    directory: Path,
    info: Mapping[str, Any],
    data: Any = None,
    hint: str = "say where with --data (data=... in Python)",
) -> SequenceData:
    """The data of a run as they were prepared for training, nothing of them held out.

    Args:
        directory: the run, for messages.
        info: its ``config.json``.
        data: the data, or where they are, if not where they were.
        hint: what to do where they are gone.

    Raises:
        DataError: the data are missing, or not what the model was trained on.
    """
    about = info.get("data")
    if about is None:
        raise DataError(f"{directory}: does not say what it was trained on")
    try:
        origin = Origin.model_validate({key: value for key, value in about.items() if key != "name"})
        found = read_again(origin, about["name"], data)
    except DataError as problem:
        raise DataError(f"{problem}; {directory} was trained on it: if it is elsewhere, {hint}") from None
    if found.fingerprint != about["fingerprint"]:
        raise DataError(
            f"{found.name}: not the data that {directory} was trained on: fingerprint {found.fingerprint[:12]}, "
            f"not {about['fingerprint'][:12]}"
        )
    return found
