"""Nightly update: train a new model from yesterday's model and today's log, and replace the old one if it is no worse.

Training starts from the earlier model (warm start). The new model is compared with the earlier one and with popularity
on held-out targets. If it is accepted it is, as requested, trained on all data, exported, and put where the service
reads it. Each step can be repeated, so that the same command resumes after a kill.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from mclrec.arguments import check_flag, path_of, text_of
from mclrec.crashes import refusals_as_ours
from mclrec.data.loading import load
from mclrec.data.origin import Reading
from mclrec.data.sequences import SequenceData
from mclrec.data.split import check_rule, looks_at_times, make_split
from mclrec.data.split_rules import SplitRule
from mclrec.errors import ConfigError, MclrecWarning, ModelFileError
from mclrec.evaluation.metrics import parse_metric
from mclrec.inference.exporter import export_onnx
from mclrec.json_files import write_json
from mclrec.locks import is_empty, lock_in
from mclrec.models import registry
from mclrec.models.directory import CONFIG
from mclrec.runs.final import final_request, measured_run, reading_like
from mclrec.runs.judgement import Judgement, judge
from mclrec.runs.live_link import point
from mclrec.runs.remeasure import same_log
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run, open_run
from mclrec.runs.run_directory import begin_or_resume
from mclrec.runs.shown_progress import shown
from mclrec.runs.training_run import resolve_device, train
from mclrec.runs.update_request import (
    FINAL,
    MEASURED,
    UpdateRequest,
    check_update,
    floors,
    split_of,
    with_targets_of,
)
from mclrec.runs.warm_start import check_earlier, learns_nothing_newer
from mclrec.sealed_json import read_sealed, sealed, validated
from mclrec.training.reporting import Reporter
from mclrec.wording import count_of

__all__ = ["Update", "run_update", "update"]

Reporting = Callable[[], AbstractContextManager[Reporter | None]]

_RECORD = "update.json"


class Update(BaseModel):
    """Outcome of an update, which is saved in its directory.

    Attributes:
        directory: directory of the update.
        status: begun, interrupted by a signal, refused, or done.
        earlier: directory of the measured run that training started from, and that the new model is compared with.
        fingerprint: fingerprint of the newer data.
        options: options of the request.
        judgement: result of the comparison; None before it.
        model: directory of the model that goes live; None unless the update is done.
        exported: directory of its export; None if there is none.
        into: the link that now points to it; None if there is none.
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
        """Whether the new model replaces the earlier one."""
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
    valid_from: int | str | date | None = None,
    test_from: int | str | date | None = None,
    reading: Reading | None = None,
    progress: bool = True,
) -> Update:
    """Train a new model from an earlier one, and replace that if the new one is no worse; a repeated call resumes.

    Args:
        run: the earlier model: a run or final model, its directory, or a link to it.
        data: the newer log, as `mclrec.train` takes it.
        out: directory of the update; its subdirectories ``measured`` and ``final`` are runs.
        floor: least values of the new model's metrics, such as ``{"ndcg@10": 0.05}``.
        final: whether the model that goes live is trained on all data.
        export: ``onnx`` to export it.
        into: a symbolic link that will point to the new model; created if missing.
        device: auto, cpu or cuda.
        valid_from: moment from which validation targets are held out, later than the earlier run's; needed if that run
            was split at a fixed moment, since otherwise nothing newer would be learnt.
        test_from: likewise for test targets.
        reading: how the log is read; by default as the earlier run's own log was.
        progress: whether to show progress bars.

    Returns:
        The update: ``.accepted``, ``.judgement`` with the metrics and the reasons against the new model, ``.model``.

    Raises:
        MclrecError: the subclass says what is wrong.
    """
    final = check_flag("final", final)
    shown(progress)  # checks the argument before anything is read
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
        split_of(valid_from, test_from),
    )
    return run_update(request, lambda: shown(progress))


def run_update(request: UpdateRequest, reporting: Reporting = nullcontext) -> Update:
    """Run an update as requested.

    Args:
        request: the request.
        reporting: makes a context manager for each training that yields its reporter, or None for no reports.

    Raises:
        MclrecError: any error that the data, the runs or the training can cause.
    """
    earlier = measured_run(request.run)
    check_update(request, earlier)
    with lock_in(request.out, "wait until it has ended, or give another --out"):
        return _Steps(request, reporting).run(earlier)


class _Steps:
    """The steps of one update, each of which detects what has been done already."""

    def __init__(self, request: UpdateRequest, reporting: Reporting) -> None:
        self._request, self._reporting = request, reporting

    def run(self, earlier: Run) -> Update:
        """Do the steps that are left."""
        request = self._request
        earlier = self._earlier_run(earlier)
        reading = reading_like(earlier, request.data, request.reading)
        data = load(request.data, **reading.options())
        check_rule(data, earlier.info.split)
        _check_floors(request, data)
        done = self._begin(earlier, data)
        if done.status in ("refused", "done"):
            return self._restored_outcome(done)
        measured = self._measured(earlier, data)
        if not measured.record.finished:
            return self._keep(_changed(done, status="interrupted"))
        split = make_split(data, measured.info.split)
        judgement = judge(measured, earlier, split, request.floor, resolve_device(request.device))
        if judgement.faults:
            self._warn_if_live(earlier)
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

    def _warn_if_live(self, earlier: Run) -> None:
        """Warn if the refused model is live: this update had accepted it before, with other options."""
        link = self._request.into
        if link is not None and link.resolve().parent == self._request.out.resolve():
            warnings.warn(
                f"{link}: still points to the refused model, which went live when this update was run with other "
                f"options; to return to the earlier one: ln -sfn {earlier.directory.resolve()} {link}",
                MclrecWarning,
                stacklevel=4,
            )

    def _restored_outcome(self, done: Update) -> Update:
        """Return the earlier outcome, after pointing the link to its model again if it points elsewhere.

        Raises:
            ModelFileError: the model is missing or damaged.
        """
        if done.model is None:
            return done
        _ = Run(done.model).info  # raises if the model is missing or damaged
        if done.into is not None and done.into.resolve() != done.model.resolve():
            point(done.into, done.model)
        return done

    def _earlier_run(self, earlier: Run) -> Run:
        """The earlier run, even if the link that names it already points to this update's own model."""
        kept = self._kept()
        own = self._request.out.resolve() / MEASURED
        if kept is None:
            if not is_empty(self._request.out):
                raise ConfigError(
                    f"{self._request.out}: is not empty and does not hold an update; give another --out"
                )
            return earlier
        if earlier.directory not in (kept.earlier, own):
            raise ConfigError(
                f"{self._request.out}: holds the update of {kept.earlier}, not of {earlier.directory}; give "
                "another --out"
            )
        return open_run(kept.earlier)

    def _begin(self, earlier: Run, data: SequenceData) -> Update:
        """The saved state of this update; if there is none, or its options differ, an update is begun and saved."""
        request, kept = self._request, self._kept()
        if kept is not None and not self._is_of(kept, data):
            raise ConfigError(
                f"{request.out}: holds an update with another log than {data.name}; give another --out"
            )
        if kept is not None and kept.options.get("split") != request.split:
            raise ConfigError(
                f"{request.out}: holds an update with other --valid-from and --test-from; give another --out"
            )
        if kept is not None and kept.options == request.options:
            return kept
        if kept is None:
            self._check_split(earlier, data)
        begun = Update(
            directory=request.out,
            status="begun",
            earlier=earlier.directory,
            fingerprint=data.fingerprint,
            options=request.options,
        )
        return self._keep(begun)

    def _is_of(self, kept: Update, data: SequenceData) -> bool:
        """Whether an update was begun with these data; the times are recorded by its run only."""
        if kept.fingerprint != data.fingerprint:
            return False
        place = self._request.out / MEASURED
        return not (place / CONFIG).exists() or same_log(Run(place).info, data)

    def _check_split(self, earlier: Run, data: SequenceData) -> None:
        """Refuse a split under which nothing newer is learnt, and an earlier model that training cannot start from.

        Raises:
            ConfigError: it would learn from nothing newer than the earlier model, or cannot start from that.
        """
        split = with_targets_of(self._request.split, earlier.info.split)
        if self._request.split is not None and not looks_at_times(earlier.info.split):
            raise ConfigError(
                f"{earlier.directory}: was split by {earlier.info.split}, which has no moments; leave --valid-from and "
                "--test-from out"
            )
        if learns_nothing_newer(earlier, data, split):
            raise ConfigError(
                f"{earlier.directory}: held out from {SplitRule.of(split).valid_from} on, and with the same moments "
                f"nothing newer in {data.name} would be learnt; give a later --valid-from and --test-from"
            )
        check_earlier(earlier, data, split)

    def _measured(self, earlier: Run, data: SequenceData) -> Run:
        """Train and measure a run that starts from the earlier one, or from scratch if the model only counts."""
        info = earlier.info
        counts = registry.entry(info.model).only_counts
        request = TrainRequest(
            data,
            info.model,
            seed=info.seed,
            warm_start=None if counts else earlier,
            split=with_targets_of(self._request.split, info.split),
            like=earlier,
        )
        return self._train(request, MEASURED)

    def _final(self, measured: Run, data: SequenceData) -> Run:
        return self._train(final_request(measured, data, Reading()), FINAL)

    def _train(self, request: TrainRequest, name: str) -> Run:
        """Train in a folder of the update, resuming from its checkpoint if there is one."""
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
        """The outcome that an earlier call saved; None if there is none."""
        path = self._request.out / _RECORD
        if not path.exists():
            return None
        found = read_sealed(path, ModelFileError)
        return validated(Update, found, str(path), ModelFileError)

    def _keep(self, outcome: Update) -> Update:
        write_json(self._request.out / _RECORD, sealed(outcome.model_dump(mode="json")))
        return outcome


def _check_floors(request: UpdateRequest, data: SequenceData) -> None:
    """Refuse a floor whose cutoff is beyond the catalogue: a hit rate would reach any floor there.

    Raises:
        ConfigError: it is.
    """
    for metric in map(parse_metric, request.floor):
        if metric.k > data.num_items:
            raise ConfigError(
                f"floor of {metric}: {data.name} has only {count_of(data.num_items, 'item')}; give a smaller cutoff"
            )


def _changed(outcome: Update, **changes: Any) -> Update:
    """Copy of an outcome with some fields changed."""
    return outcome.model_copy(update=changes)
