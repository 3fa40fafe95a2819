"""Final models: trained on all data with the settings of a measured run, for the model that goes live.

A measured run holds out each user's newest items. Its final model has the same settings and seed, learns from all
interactions, and is trained for the number of epochs that validation chose there: the number of steps then grows with
the data, and each interaction is learnt from as often as those of the measured model were. Keeping the number of steps
instead would mean fewer passes over more data, which nothing has measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mclrec.arguments import check_flag, path_of, text_of
from mclrec.crashes import refusals_as_ours
from mclrec.data.datasets import is_dataset
from mclrec.data.origin import Origin, Reading
from mclrec.data.sequences import SequenceData, is_saved
from mclrec.data.split import EVERYTHING
from mclrec.errors import ConfigError, ModelFileError
from mclrec.models.directory import TENSORS, weights_checksum
from mclrec.runs.remeasure import run_data
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run, open_run
from mclrec.runs.shown_progress import shown
from mclrec.runs.training_run import train

__all__ = ["final_request", "finalize", "measured_run", "reading_like"]


@refusals_as_ours()
def finalize(
    run: Run | str | Path,
    data: Any = None,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    reading: Reading | None = None,
    progress: bool = True,
) -> Run:
    """Train the final model of a measured run: the same settings and seed on all data, with nothing held out.

    It is trained for the number of epochs that validation chose in ``run``. It is not measured, since nothing is left
    to measure it on; its card names the measured run.

    Args:
        run: the measured run, or its directory.
        data: a newer log of the same kind, as `mclrec.train` takes it; the run's own data by default.
        out: directory of the final run; a free one under ``runs/`` by default.
        device: auto, cpu or cuda.
        resume: whether to resume an interrupted final run.
        reading: how a log is read; by default as the run's own log was.
        progress: whether to show progress bars.

    Returns:
        The final run, which recommends, is exported and served like any other.

    Raises:
        MclrecError: the subclass says what is wrong.
    """
    resume = check_flag("resume", resume)
    bars = shown(progress)
    request = final_request(
        open_run(run),
        data,
        Reading.of(reading),
        out=None if out is None else path_of("out", out),
        device=text_of("device", device),
        resume=resume,
    )
    with bars as reporter:
        return train(request, reporter)


def final_request(run: Run, data: Any, reading: Reading, **options: Any) -> TrainRequest:
    """The request for the final model of a measured run.

    Args:
        run: the measured run.
        data: as in `finalize`.
        reading: as in `finalize`.
        options: further fields of the request, such as ``out``.

    Raises:
        ConfigError: the run is a final model itself, or was interrupted.
        MclrecError: its data cannot be read.
    """
    run = Run(run.directory.resolve())
    info, record = run.info, run.record
    if info.measured_by is not None:
        raise ConfigError(
            f"{run.directory}: is a final model already; give the run that was measured: {info.measured_by.run}"
        )
    if not record.finished:
        raise ConfigError(
            f"{run.directory}: its training was interrupted before validation chose the best epoch; finish it with "
            "mclrec train --resume"
        )
    return TrainRequest(
        run_data(run) if data is None else data,
        info.model,
        seed=info.seed,
        warm_start=info.warm_start,
        split=EVERYTHING,
        like=run,
        reading=reading if data is None else reading_like(run, data, reading),
        **options,
    )


def reading_like(run: Run, data: Any, reading: Reading) -> Reading:
    """Reading options for data that replace a run's log: the run's own, with the given overrides.

    A log that comes in files for training, validation and test is recognised by the path of its training file; another
    log takes only the files given with it. Registered data sets have their own reading, and prepared data have been
    read already.

    Args:
        run: the run whose data are replaced.
        data: name of a data set, path of a log or of prepared data, frame, or `SequenceData`.
        reading: the overrides.
    """
    prepared = isinstance(data, SequenceData) or (isinstance(data, str | Path) and is_saved(Path(data)))
    named = isinstance(data, str) and is_dataset(data)
    source = run.info.data.source
    if prepared or named or source.kind == "dataset":
        return reading
    usual = source.reading
    if usual.in_parts and not _is_same_path(data, source):
        # Another log does not inherit the files. Without files of its own it keeps their rule that no row is too rare.
        usual = usual.model_copy(update={"valid": None, "test": None, "min_count": 1})
        usual = usual.model_copy(update={"min_count": None} if reading.in_parts else {})
    return reading.filled(usual)


def _is_same_path(data: Any, source: Origin) -> bool:
    """Whether data are given as the path of a run's own log."""
    return isinstance(data, str | Path) and source.path == str(Path(data).absolute())


def measured_run(run: Run) -> Run:
    """The measured run behind a final model, or the run itself if it was measured. Links are followed.

    Raises:
        ModelFileError: the measured run is no longer where it was, or has been retrained since.
    """
    run = Run(run.directory.resolve())
    by = run.info.measured_by
    if by is None:
        return run
    measured = Run(Path(by.run))
    if not measured.directory.is_dir() or weights_checksum(measured.directory / TENSORS) != by.weights:
        raise ModelFileError(
            f"{run.directory}: is a final model, and the run that was measured in its place is no longer at {by.run}"
        )
    return measured
