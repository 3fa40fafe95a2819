"""Rolling evaluation: models retrained for each of several cuts in time, beside leave-one-out on the same log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mclrec.arguments import LARGEST_SEED, list_of, mapping_of, path_of, text_of, whole_number
from mclrec.crashes import refusals_as_ours
from mclrec.data.intake import Intake
from mclrec.data.loading import load
from mclrec.data.measures import intake_of
from mclrec.data.moments import moment
from mclrec.data.origin import Reading
from mclrec.data.returns import share_of_returns, suited_protocol
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Split, leave_one_out, make_split, times_at
from mclrec.data.split_rules import SplitRule
from mclrec.data.target_choice import check_targets
from mclrec.errors import ConfigError, DataError
from mclrec.evaluation.metrics import FloatArray, Metric, parse_metric
from mclrec.evaluation.significance import Interval, confidence_interval
from mclrec.locks import is_empty
from mclrec.models.directory import CONFIG, METRICS
from mclrec.randomness import Stream, generator
from mclrec.recipes import Recipe
from mclrec.recipes.shared_settings import check_known, check_taken, taken_settings, told_settings
from mclrec.runs.backtest_results import Backtest, Window
from mclrec.runs.comparison import tested_metric
from mclrec.runs.plan import held_out_lines
from mclrec.runs.recipe_choice import recipe_for, sizes_of
from mclrec.runs.remeasure import same_log
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run, check_seen, open_run
from mclrec.runs.saved_settings import check_settings
from mclrec.runs.shown_progress import shown
from mclrec.runs.training_run import train
from mclrec.training.reporting import Reporter, Reporters
from mclrec.wording import count_of

__all__ = ["CHEAP", "BacktestRequest", "backtest", "cut_rules", "run_backtest"]

CHEAP = ("popularity", "markov", "itemknn", "cooccurrence", "ease")
"""The default models, each of which trains in seconds."""

_FIRST = 0.5
"""Share of the rows before the first validation window."""

_MOST_CUTS = 50


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """Request for a rolling evaluation.

    Attributes:
        data: the data, in any form that `mclrec.load` accepts.
        models: names of the models.
        cuts: number of windows.
        targets: which interactions of a user in a window are targets.
        metric: the metric to report; if None, NDCG@10, or NDCG at the largest cutoff that the catalogue allows.
        seen: keep or drop items of the history; if None, the protocol that suits the log.
        seed: seed of the trainings.
        out: directory of the runs; ``runs/backtest-DATA`` if None.
        device: auto, cpu or cuda.
        reading: how the log is read.
        settings: settings of the models and their training, which override their recipes; each model takes those that
            it has.
    """

    data: Any
    models: Sequence[str] = CHEAP
    cuts: int = 3
    targets: str = "first"
    metric: str | None = None
    seen: str | None = None
    seed: int = 1
    out: Path | None = None
    device: str = "auto"
    reading: Reading = field(default_factory=Reading)
    settings: Mapping[str, Any] = field(default_factory=dict)


@refusals_as_ours()
def backtest(
    data: Any,
    models: Sequence[str] = CHEAP,
    *,
    cuts: int = 3,
    targets: str = "first",
    metric: str | None = None,
    seen: Literal["keep", "drop"] | None = None,
    seed: int = 1,
    out: str | Path | None = None,
    device: str = "auto",
    reading: Reading | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Backtest:
    """Train models on the data before each of several cuts and measure them on what follows, beside leave-one-out.

    The second half of the log's rows is divided into windows of equally many rows: the first is the validation window
    of the first cut, the second its test window and the validation window of the second cut, and so on. Finished runs
    are kept; a repeated call continues where the last one stopped.

    Args:
        data: name of a data set, path of a log or of prepared data, frame, or `SequenceData`; it must have times.
        models: names of models; by default those that train in seconds.
        cuts: number of cuts in time.
        targets: which interactions of a user in a window count: ``first``, ``last``, ``all``, or one at ``random``.
        metric: the metric to report, such as ``ndcg@10``.
        seen: keep (U) or drop (F) items of the history; by default the protocol that suits the log.
        seed: seed of the trainings.
        out: directory of the runs, ``runs/backtest-DATA`` by default.
        device: auto, cpu or cuda.
        reading: how a log becomes sequences; as `mclrec.load` takes it.
        settings: settings of the models and their training, such as ``{"epochs": 5}``, which override their recipes;
            each model takes those that it has.
        progress: whether to show progress bars.

    Raises:
        DataError: the log has no times, or too few distinct ones for so many cuts.
        ConfigError: an unknown model, metric, choice or setting; or the directory holds other runs, or runs with other
            settings.
    """
    request = BacktestRequest(
        data,
        [text_of("models", name) for name in list_of("models", "models", models, ordered=True)],
        whole_number("cuts", cuts, 1, _MOST_CUTS),
        targets,
        metric,
        seen,
        whole_number("seed", seed, 0, LARGEST_SEED),
        None if out is None else path_of("out", out),
        text_of("device", device),
        Reading.of(reading),
        {} if settings is None else mapping_of("settings", settings),
    )
    return run_backtest(request, lambda: shown(progress))


def run_backtest(
    request: BacktestRequest, reporting: Callable[[], AbstractContextManager[Reporter | None]]
) -> Backtest:
    """Run a rolling evaluation, as `backtest` does.

    Args:
        request: what to evaluate.
        reporting: makes a context manager for each training that yields its reporter, or None for no reports.
    """
    choice = check_targets(request.targets)
    models = list(dict.fromkeys(request.models))
    if not models:
        raise ConfigError("backtest needs at least one model")
    check_known(models, request.settings)
    if request.metric is not None:
        parse_metric(request.metric)
    label = None if request.seen is None else check_seen(request.seen)
    data = load(request.data, **request.reading.options())
    if data.cuts is not None:
        raise DataError(
            f"{data.name}: comes in files, which are its split; give a single log, which can be cut by time"
        )
    with reporting() as reporter:
        if reporter is not None:
            reporter.data_taken(intake_of(data))
    held_out = leave_one_out(data)
    label = label or suited_protocol(share_of_returns(held_out.validation))
    metric = tested_metric(request.metric, data.num_items)
    folder = request.out or Path("runs") / f"backtest-{data.name}"
    windows = [_window("leave-one-out", "leave-one-out", held_out)]
    settings = [_settings(models, data, held_out, request.settings)]
    for number, rule in enumerate(cut_rules(data, request.cuts, choice), start=1):
        split = make_split(data, rule)
        windows.append(_window(f"cut {number}", str(rule), split, rule))
        settings.append(_settings(models, data, split, request.settings))
    runs = [run for by_model in settings for run in by_model.items()]
    check_taken(request.settings, runs)
    notes = told_settings(request.settings, runs)
    with reporting() as reporter:
        if reporter is not None and notes:
            reporter.planned(notes)
    values = {
        name: tuple(
            _interval(_trained(request, data, name, taken[name], window, folder, reporting), label, metric)
            for window, taken in zip(windows, settings, strict=True)
        )
        for name in models
    }
    return Backtest(
        data.name,
        data.fingerprint,
        label,
        str(metric),
        request.seed,
        choice,
        tuple(windows),
        values,
        tuple(notes),
    )


def cut_rules(data: SequenceData, cuts: int, targets: str) -> list[SplitRule]:
    """Split rules of the cuts: each test window is the validation window of the next; the last ends with the log.

    Raises:
        DataError: the data have no times, or so few distinct ones that a window would be empty.
    """
    size = (1 - _FIRST) / (cuts + 1)
    edges = times_at(data, [_FIRST + number * size for number in range(cuts + 1)])
    if any(first >= second for first, second in pairwise(edges)):
        raise DataError(
            f"{data.name}: has too few different times for {count_of(cuts, 'cut')}: a window between {edges[0]} and "
            f"{edges[-1]} would be empty; give fewer --cuts"
        )
    return [
        SplitRule(
            "time",
            str(edges[number]),
            str(edges[number + 1]),
            str(edges[number + 2]) if number + 2 <= cuts else None,
            targets,
        )
        for number in range(cuts)
    ]


def _window(name: str, split: str, found: Split, rule: SplitRule | None = None) -> Window:
    test, training = found.test, found.training
    return Window(
        name,
        split,
        _moment(None if rule is None else rule.test_from),
        _moment(None if rule is None else rule.test_until),
        len(test),
        len(np.unique(test.users)),
        int(np.count_nonzero(training.popularity[test.items] == 0)),
        int(np.count_nonzero(training.lengths[test.users] == 0)),
        tuple(line.strip() for line in held_out_lines(found)[1:]),
    )


def _moment(time: str | None) -> str | None:
    return None if time is None else moment(int(time))


def _trained(
    request: BacktestRequest,
    data: SequenceData,
    model: str,
    settings: Mapping[str, Any],
    window: Window,
    folder: Path,
    reporting: Callable[[], AbstractContextManager[Reporter | None]],
) -> Run:
    """The run of a model for a window: the existing one if it is finished, else a new or resumed one.

    Raises:
        ConfigError: the directory holds another run.
        KeyboardInterrupt: the training was interrupted; its progress is kept.
    """
    directory = folder / f"{window.name.replace(' ', '-')}-{model}"
    if (directory / CONFIG).exists():
        run = open_run(directory)
        info = run.info
        same = (info.model, info.split, info.seed) == (model, window.split, request.seed)
        if not same or not same_log(info, data):
            raise ConfigError(f"{directory}: holds a run with another log, seed or cut; give another --out")
        if (directory / METRICS).exists() and run.record.finished:
            check_settings(run, _recipe(data, model, settings, window))
            return run
    wanted = TrainRequest(
        data,
        model,
        seed=request.seed,
        out=directory,
        device=request.device,
        resume=directory.exists() and not is_empty(directory),
        split=window.split,
        settings=settings,
    )
    with reporting() as reporter:
        run = train(wanted, None if reporter is None else _WithoutIntake(reporter))
    if not run.record.finished:
        raise KeyboardInterrupt
    return run


def _recipe(data: SequenceData, model: str, settings: Mapping[str, Any], window: Window) -> Recipe:
    """The recipe of a model's run in a window."""
    return recipe_for(model, data, sizes_of(make_split(data, window.split)), settings=settings)


def _settings(
    models: Sequence[str], data: SequenceData, split: Split, given: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The given settings that each model takes in a window."""
    if not given:
        return {model: {} for model in models}
    sizes = sizes_of(split)

    def taken(model: str) -> dict[str, Any]:
        return taken_settings(
            model, given, lambda settings: recipe_for(model, data, sizes, settings=settings)
        )

    return {model: taken(model) for model in models}


class _WithoutIntake(Reporters):
    """Passes on all reports except that of the log, which is reported once and not before each training."""

    def data_taken(self, intake: Intake) -> None:
        """Ignore the intake, which has been reported already."""


def _interval(run: Run, label: str, metric: Metric) -> Interval:
    values: FloatArray = run.ranks("test", label).values(metric)
    return confidence_interval(values, generator(0, Stream.BOOTSTRAP))
