"""The nightly path: yesterday's model and today's log give a model that takes its place, if it is no worse.

Training goes on from the earlier model and is measured on held-out targets; both models and popularity are compared on
them. A model that stands the comparison is trained on everything, exported, and put where the service reads it, as far
as was asked for. Each step can be done again, so that the same command goes on after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from mclrec.arguments import check_choice, check_flag, path_of, text_of
from mclrec.crashes import refusals_as_ours
from mclrec.data.loading import load
from mclrec.data.origin import Reading
from mclrec.data.sequences import SequenceData
from mclrec.data.split import make_split
from mclrec.errors import ConfigError, ModelFileError, quoted
from mclrec.evaluation.metrics import parse_metric
from mclrec.extras import require
from mclrec.files import check_writable, write_json
from mclrec.inference.exporter import export_onnx
from mclrec.locks import is_empty, lock_in
from mclrec.models import registry
from mclrec.models.base import VectorRecommender
from mclrec.runs.final import final_request, measured_run, reading_like
from mclrec.runs.judgement import Judgement, judge
from mclrec.runs.live_link import check_link, point
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run, open_run
from mclrec.runs.run_directory import begin_or_resume
from mclrec.runs.training_run import resolve_device, train
from mclrec.runs.warm_start import check_earlier
from mclrec.sealed_json import read_sealed, sealed, validated
from mclrec.training.reporting import ProgressReporter, Reporter

__all__ = ["Update", "UpdateRequest", "floors", "run_update", "update"]

Reporting = Callable[[], AbstractContextManager[Reporter | None]]

_RECORD = "update.json"
_MEASURED, _FINAL = "measured", "final"


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """Request for an update: everything that decides it.

    Attributes:
        run: the earlier model: a measured run, a final model (its measured run is meant), or a link to one.
        data: the newer log, as `mclrec.train` takes it.
        out: directory of the update.
        floor: value that each of these metrics of the new model must reach, under the protocol that suits the data.
        final: whether the model that goes live is trained on everything.
        export: ``onnx`` to export it; None for no export.
        into: the link that the service reads its model from; None for none.
        device: auto, cpu or cuda.
        reading: how the log is read; as the earlier run's own was where nothing is said.
        command: for the record of the runs; made up from the rest if None.
    """

    run: Run
    data: Any
    out: Path
    floor: Mapping[str, float] = field(default_factory=dict)
    final: bool = False
    export: Literal["onnx"] | None = None
    into: Path | None = None
    device: str = "auto"
    reading: Reading = field(default_factory=Reading)
    command: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What else decides the outcome, beside the models and the data."""
        into = None if self.into is None else str(self.into.absolute())
        return {"floor": dict(self.floor), "final": self.final, "export": self.export, "into": into}


class Update(BaseModel):
    """What became of an update; kept in its directory.

    Attributes:
        directory: of the update.
        status: begun, interrupted by a signal, refused, or done.
        earlier: directory of the measured run that was compared with, and gone on from.
        fingerprint: of the newer data.
        options: of the request.
        judgement: the comparison; None before it.
        model: directory of the model that goes live; None where it was refused.
        exported: directory of its export.
        into: the link that leads to it now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    directory: Path
    status: Literal["begun", "interrupted", "refused", "done"]
    earlier: Path
    fingerprint: str
    options: dict[str, Any]
    judgement: Judgement | None = None
    model: Path | None = None
    exported: Path | None = None
    into: Path | None = None

    @property
    def accepted(self) -> bool:
        """Whether the new model takes the place of the earlier one."""
        return self.status == "done"


@refusals_as_ours()
def update(
    run: Run | str | Path,
    data: Any,
    *,
    out: str | Path,
    floor: Mapping[str, float] | None = None,
    final: bool = False,
    export: Literal["onnx"] | None = None,
    into: str | Path | None = None,
    device: str = "auto",
    reading: Reading | None = None,
    progress: bool = True,
) -> Update:
    """Train a newer model from an earlier one, and let it take its place if it is no worse; called again, it goes on.

    Args:
        run: the earlier model: a run or final model, its directory, or a link to it.
        data: the newer log, as `mclrec.train` takes it.
        out: directory of the update: ``measured`` and ``final`` in it are runs.
        floor: values that metrics of the new model must reach, such as ``{"ndcg@10": 0.05}``.
        final: whether the model that goes live is trained on everything.
        export: ``onnx`` to export it.
        into: a symbolic link, which leads to the new model afterwards; made if it is not there.
        device: auto, cpu or cuda.
        reading: how the log is read; as the earlier run's own was where nothing is said.
        progress: whether to show progress bars.

    Returns:
        The update: ``.accepted``, ``.judgement`` with the numbers and what speaks against the new model, ``.model``.

    Raises:
        MclrecError: of the kind that says what is wrong.
    """
    check_flag("final", final)
    check_flag("progress", progress)
    request = UpdateRequest(
        open_run(run),
        data,
        path_of("out", out),
        floors(floor),
        final,
        export,
        None if into is None else path_of("into", into),
        text_of("device", device),
        Reading.of(reading),
    )
    return run_update(request, (lambda: ProgressReporter(Console(stderr=True))) if progress else nullcontext)


def run_update(request: UpdateRequest, reporting: Reporting = nullcontext) -> Update:
    """Update as requested.

    Args:
        request: what to do.
        reporting: opens what is told of the progress of a training; nothing is told if it gives None.

    Raises:
        MclrecError: of any kind that the data, the runs or the training can cause.
    """
    earlier = measured_run(request.run)
    _check_words(request, earlier)
    with lock_in(request.out, "wait until it has ended, or give another --out"):
        return _Steps(request, reporting).run(earlier)


class _Steps:
    """The steps of one update, each of which finds out what is done already."""

    def __init__(self, request: UpdateRequest, reporting: Reporting) -> None:
        self._request, self._reporting = request, reporting

    def run(self, earlier: Run) -> Update:
        """Do what is left to do."""
        request = self._request
        earlier = self._compared_with(earlier)
        reading = reading_like(earlier, request.data, request.reading)
        data = load(request.data, **reading.options())
        done = self._begin(earlier, data)
        if done.status in ("refused", "done"):
            return self._again(done)
        measured = self._measured(earlier, data)
        if not measured.record.finished:
            return self._keep(_changed(done, status="interrupted"))
        split = make_split(data, measured.info.split)
        judgement = judge(measured, earlier, split, request.floor, resolve_device(request.device))
        if judgement.faults:
            return self._keep(_changed(done, status="refused", judgement=judgement))
        live = self._final(measured, data) if request.final else measured
        if not live.record.finished:
            return self._keep(_changed(done, status="interrupted", judgement=judgement))
        exported = export_onnx(live.directory).directory if request.export else None
        if request.into is not None:
            point(request.into, live.directory)
        return self._keep(
            _changed(
                done,
                status="done",
                judgement=judgement,
                model=live.directory,
                exported=exported,
                into=request.into,
            )
        )

    def _again(self, done: Update) -> Update:
        """What came out before; the link is led back to the model if it leads elsewhere by now.

        Raises:
            ModelFileError: the model is gone.
        """
        if done.model is None:
            return done
        _ = Run(done.model).info  # says what is wrong with it
        if done.into is not None and done.into.resolve() != done.model.resolve():
            point(done.into, done.model)
        return done

    def _compared_with(self, earlier: Run) -> Run:
        """The earlier run, also where the link that names it leads to this update's own model already."""
        kept = self._kept()
        own = self._request.out.resolve() / _MEASURED
        if kept is None:
            if not is_empty(self._request.out):
                raise ConfigError(
                    f"{self._request.out}: is not empty, and holds no update; give another --out"
                )
            return earlier
        if earlier.directory not in (kept.earlier, own):
            raise ConfigError(
                f"{self._request.out}: holds the update of {kept.earlier}, not of {earlier.directory}; give "
                "another --out"
            )
        return open_run(kept.earlier)

    def _begin(self, earlier: Run, data: SequenceData) -> Update:
        """What the directory says of this very update; it says that it has begun where there was none."""
        request, kept = self._request, self._kept()
        if kept is not None and kept.fingerprint != data.fingerprint:
            raise ConfigError(
                f"{request.out}: holds the update by another log than {data.name}; give another --out"
            )
        if kept is not None and kept.options == request.options:
            return kept
        if kept is None:
            check_earlier(earlier, data)
        begun = Update(
            directory=request.out,
            status="begun",
            earlier=earlier.directory,
            fingerprint=data.fingerprint,
            options=request.options,
        )
        return self._keep(begun)

    def _measured(self, earlier: Run, data: SequenceData) -> Run:
        """The run that goes on from the earlier one, or is trained anew where a model only counts, and is measured."""
        info = earlier.info
        counts = registry.entry(info.model).family == "trivial"
        request = TrainRequest(
            data,
            info.model,
            seed=info.seed,
            warm_start=None if counts else earlier,
            split=info.split,
            like=earlier,
        )
        return self._train(request, _MEASURED)

    def _final(self, measured: Run, data: SequenceData) -> Run:
        return self._train(final_request(measured, data, Reading()), _FINAL)

    def _train(self, request: TrainRequest, name: str) -> Run:
        """Train in a folder of the update, from where it was left."""
        place = self._request.out.resolve() / name
        request = replace(
            request,
            out=place,
            resume=begin_or_resume(place),
            device=self._request.device,
            command=self._request.command,
        )
        with self._reporting() as reporter:
            return train(request, reporter)

    def _kept(self) -> Update | None:
        """What an earlier call wrote of this update."""
        path = self._request.out / _RECORD
        if not path.exists():
            return None
        found = read_sealed(path, ModelFileError)
        return validated(Update, found, str(path), ModelFileError)

    def _keep(self, outcome: Update) -> Update:
        write_json(self._request.out / _RECORD, sealed(outcome.model_dump(mode="json")))
        return outcome


def _changed(outcome: Update, **changes: Any) -> Update:
    """A copy with some fields changed."""
    return outcome.model_copy(update=changes)


def _check_words(request: UpdateRequest, earlier: Run) -> None:
    """Find the mistakes that can be found before data are read.

    Raises:
        ConfigError: no such export, or none of this model, or the link cannot be one.
        OutputError: a place cannot be written.
    """
    check_writable(request.out, "folder")
    if request.into is not None:
        check_link(request.into)
    if request.export is None:
        return
    check_choice("export", request.export, ("onnx",))
    require("an export to ONNX")
    model = earlier.info.model
    if not issubclass(registry.model_class(model), VectorRecommender):
        raise ConfigError(f"--export onnx: {model} has no item vectors and cannot be exported; leave it out")


def floors(given: Any) -> dict[str, float]:
    """Floors by metric.

    Raises:
        ConfigError: a metric is unknown, or its value is no number within 0 and 1.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(
            f"floor = {quoted(given)}: should be a value by metric, such as {{'ndcg@10': 0.05}}"
        )
    found = {}
    for name, value in (given or {}).items():
        metric = parse_metric(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ConfigError(f"floor of {metric} = {quoted(value)}: should be a number within 0 and 1")
        found[str(metric)] = float(value)
    return found
