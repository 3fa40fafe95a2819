"""The training loop: phases, epochs, batches, updates. It depends on the interface of models, not on any model.

Every random draw is keyed by (seed, purpose, phase, epoch, step), so that a run that was killed at any moment and
resumed from its last checkpoint gives the same results as an uninterrupted one.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mclrec.data.examples import Examples
from mclrec.data.split import Split
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.errors import DataError, TrainingError
from mclrec.files import remove_leftovers
from mclrec.models.base import Recommender
from mclrec.models.phases import FitContext, Phase
from mclrec.randomness import Stream, generator
from mclrec.training.checkpoint import CHECKPOINT, Checkpoints, Position, StopRequest
from mclrec.training.config import TrainingConfig
from mclrec.training.early_stopping import has_stopped
from mclrec.training.fit_result import FitResult
from mclrec.training.identity import NOTHING_LATER
from mclrec.training.kept_memory import kept_memory
from mclrec.training.loader import EpochBatches
from mclrec.training.loss_reader import LossReader
from mclrec.training.optimisers import Optimisers, WeightAverage, check_weights
from mclrec.training.reporting import EpochRecord, EpochStart, Reporter, SilentReporter, write_history
from mclrec.training.schedule import cycle_epochs, one_cycle
from mclrec.training.step_graphs import make_steps
from mclrec.training.steps import Steps, Trained
from mclrec.training.validation import Validator
from mclrec.wording import count_of

__all__ = ["Trainer"]


class _Interrupted(Exception):
    """Raised after a signal has requested a stop and the checkpoint has been written."""


class Trainer:
    """Trains one model on one split, and writes its history and checkpoints to one directory.

    Args:
        model: the initialised model.
        split: training data and validation targets.
        config: batch size, epochs, early stopping and so on.
        seed: seed of order, views, negatives and dropout.
        directory: folder for ``history.jsonl`` and ``checkpoint/``.
        device: device to train on.
        identity: what a resumed run must have in common with its checkpoint.
        came_later: for keys of the identity that earlier versions did not have, the values that describe their runs.
        reporter: receives the progress.
        processes: processes that train together: each has its part of every batch, and the main one writes.

    Raises:
        ConfigError: the device does not support the configuration.
    """

    def __init__(
        self,
        model: Recommender,
        split: Split,
        config: TrainingConfig,
        *,
        seed: int,
        directory: Path,
        device: torch.device,
        identity: dict[str, Any],
        came_later: Mapping[str, Any] = NOTHING_LATER,
        reporter: Reporter | None = None,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        config.check_device(device)
        self.model, self.split, self.config = model, split, config.on(device)
        self.seed, self.device, self.directory = seed, device, directory
        self._processes, self._layout = processes, model.layout(processes)
        self._validator = Validator(model, split, config, seed, device, processes)
        self._checkpoints = Checkpoints(directory / CHECKPOINT, identity, came_later, self._layout)
        self._reporter = reporter or SilentReporter()
        self._losses = LossReader()
        self._average = WeightAverage(model, None)
        self._frozen = {id(parameter) for parameter in model.parameters() if not parameter.requires_grad}
        self._began = time.perf_counter()
        self._saved_at = time.monotonic()

    def fit(self, *, resume: bool = False) -> FitResult:
        """Train to the end, or until a signal; afterwards the model has the best weights.

        Raises:
            TrainingError: a loss or weight is not finite; there is no checkpoint to resume, or it is another run's, or
                has more epochs than the run may have.
            ModelFileError: the checkpoint is damaged.
            DataError: the data contain no training example.
            LostProcessError: another process has ended.
        """
        position, restored = self._checkpoints.load() if resume else (Position(), None)
        self._restore_threads(position)
        seconds_before = position.elapsed
        self._began = time.perf_counter() - seconds_before
        if self._processes.main:
            remove_leftovers(self.directory)
        self.model.on_fit_start(self.split.training)
        self.model.to(self.device)
        phases = self.model.phases()
        self._check_reached(phases, position)
        interrupted = False
        try:
            with StopRequest() as stop, kept_memory():
                for number in range(position.phase, len(phases)):
                    if number > position.phase:
                        self._load_best(position)
                        position.next_phase()
                    self._run_phase(phases[number], position, restored, stop)
                    restored = None
        except _Interrupted:
            interrupted = True
        finally:
            self._unfreeze()
        measured = self._load_best(position)
        self.model.eval()
        if not phases and self._validates:  # without phases: validated once here, for searches to compare
            position.best_value, measured = self._validator.measure(), True
        return FitResult(
            tuple(position.history),
            position.best_epoch if measured else 0,
            position.best_value if measured and self._validates else None,
            interrupted,
            seconds_before,
        )

    def _check_reached(self, phases: Sequence[Phase], position: Position) -> None:
        """Refuse fewer epochs, or less patience, than the finished epochs took: such a training ends elsewhere."""
        if not phases:
            return
        phase, done = phases[position.phase], position.epoch - 1
        has = f"{self.directory / CHECKPOINT}: has {count_of(done, 'epoch')} already"
        if done > (most := self._epochs(phase)):
            raise TrainingError(
                f"{has}, more than epochs = {most}; continue with --set epochs={done} or more, "
                "or train from scratch into another --out"
            )
        stopping, patience = self.config.stopping, self.config.patience
        curve = self._curve(phase, position) if phase.validate and self._validates else []
        if ended := next((n for n in range(1, done) if has_stopped(curve[:n], stopping, patience)), None):
            raise TrainingError(
                f"{has}, but patience = {patience} would have ended the training after {ended}; "
                "continue with more patience, or train from scratch into another --out"
            )

    def _restore_threads(self, position: Position) -> None:
        """Use the number of threads that the run began with: rounding of sums depends on the number of partial sums."""
        if position.threads and self._processes.size == 1:
            torch.set_num_threads(position.threads)
        position.threads = torch.get_num_threads()

    def longest_time(self, steps: int = 9) -> float:
        """Estimate the seconds of all epochs of all phases from a few batches; validations are not included.

        Uses the median of ``steps`` batches, after one to warm up. The weights are not usable afterwards.
        """
        total = 0.0
        for number, phase in enumerate(self.model.phases()):
            timed = self.timed_steps(number)
            batches = int(next(timed))
            times = list(islice(timed, min(steps + 1, batches)))
            total += self._epochs(phase) * statistics.median(times[1:] or times or [0.0]) * batches
        return total

    def longest_validation(self) -> float:
        """Estimate the total seconds of the validations of all epochs from a few targets."""
        epochs = sum(self._epochs(phase) for phase in self.model.phases() if phase.validate)
        return epochs * self._validator.expected_seconds() if epochs and self._validates else 0.0

    def timed_steps(self, number: int) -> Iterator[float]:
        """Yield the number of batches of an epoch of phase ``number``, then the seconds of each batch, endlessly.

        Warm-up batches are trained but not yielded. The weights are not usable afterwards.
        """
        if number == 0:
            self.model.on_fit_start(self.split.training)
            self.model.to(self.device)
        phase = self.model.phases()[number]
        self._start_phase(phase)
        self.model.on_epoch_start(self._context(Position(phase=number)))
        self.model.train()
        examples = phase.examples(self.split.training)
        steps = self._steps(phase, self._optimisers(phase), examples)
        batches = self._batches(phase, examples, (self.seed, number, 1), steps)
        yield len(batches)
        try:
            with kept_memory():
                for done, step in enumerate(cycle(range(len(batches)))):
                    started = time.perf_counter()
                    batch, size = batches.prepare(step), batches.size(step)
                    steps.run(batch, size, (self.seed, number, 1, step), lambda _: None)
                    self._losses.catch_up()
                    if done >= steps.warm_up:
                        yield time.perf_counter() - started
        finally:
            steps.close()

    def _optimisers(self, phase: Phase) -> Optimisers:
        groups = {update.group for update in phase.updates}
        return Optimisers(self.model, groups, self.config, self._layout, recorded=self.config.graphs)

    def _batches(
        self, phase: Phase, examples: Examples, key: tuple[int, int, int], steps: Steps
    ) -> EpochBatches:
        size, width = self.config.batch_size, steps.width
        return EpochBatches(phase, examples, size, key, self.device, self._processes, width)

    def _steps(self, phase: Phase, optimisers: Optimisers, examples: Examples) -> Steps:
        assert self.config.precision != "auto"
        trained = Trained(
            self.model, phase, optimisers, self._losses, self._processes, self.device, self.config.precision
        )
        return make_steps(trained, self.config, len(examples))

    def _run_phase(
        self,
        phase: Phase,
        position: Position,
        restored: Mapping[str, Mapping[str, Tensor]] | None,
        stop: StopRequest,
    ) -> None:
        """Run the epochs of one phase, starting at ``position``."""
        self._start_phase(phase)
        optimisers = self._optimisers(phase)
        self._average = WeightAverage(self.model, self.config.average if phase.validate else None)
        if restored:
            self._load(restored["model"])
            optimisers.load(restored["adam"])
            self._average.load(restored["average"])
        examples = phase.examples(self.split.training)
        if not len(examples):
            raise DataError(
                f"{self.split.data.name}: no training example: every training history has one item"
            )
        steps = self._steps(phase, optimisers, examples)
        try:
            while position.epoch <= self._epochs(phase) and not self._stops_early(phase, position):
                batches = self._batches(phase, examples, (self.seed, position.phase, position.epoch), steps)
                self._run_epoch(phase, batches, steps, optimisers, position, stop)
        finally:
            steps.close()

    def _epochs(self, phase: Phase) -> int:
        """Maximum number of epochs of a phase."""
        return self.config.epochs if phase.epochs is None else phase.epochs

    def _start_phase(self, phase: Phase) -> None:
        """Unfreeze what an earlier phase froze, and let the model freeze parameters for this phase."""
        self._unfreeze()
        self.model.on_phase_start(phase.name)

    def _unfreeze(self) -> None:
        """Make all parameters trainable, except those that were frozen when the model was built."""
        for parameter in self.model.parameters():
            parameter.requires_grad_(id(parameter) not in self._frozen)

    def _stops_early(self, phase: Phase, position: Position) -> bool:
        """Whether early stopping ends the phase."""
        if not phase.validate or not self._validates:
            return False
        return has_stopped(self._curve(phase, position), self.config.stopping, self.config.patience)

    def _curve(self, phase: Phase, position: Position) -> list[float]:
        """Validation metric of the phase's epochs so far."""
        records = [record for record in position.history if record.phase == phase.name]
        return [record.metrics[self.config.metric] for record in records]

    def _run_epoch(
        self,
        phase: Phase,
        batches: EpochBatches,
        steps: Steps,
        optimisers: Optimisers,
        position: Position,
        stop: StopRequest,
    ) -> None:
        key = (self.seed, position.phase, position.epoch)
        if position.step == 0:
            self.model.on_epoch_start(self._context(position))
        # Rounding differs between kinds of processors: all processes get the main one's weights and buffers each epoch.
        self._layout.broadcast(self.model.state_dict())
        self.model.train()
        told = EpochStart(phase.name, position.epoch, self._epochs(phase), len(batches), position.step)
        self._reporter.epoch_started(told)
        started = time.perf_counter() - position.seconds

        def finished(losses: dict[str, float]) -> None:
            position.add(losses)
            position.seconds = time.perf_counter() - started
            self._reporter.stepped(position.means)

        for step, batch in batches.starting_at(position.step):
            self._set_rates(phase, optimisers, position.epoch, step, len(batches))
            steps.run(batch, batches.size(step), (*key, step), finished)
            self._average.add()
            self._losses.keep_up()
            due = time.monotonic() - self._saved_at > 60 * self.config.checkpoint_minutes
            stopping, saving = self._processes.any(stop.requested, due)
            if stopping or saving:
                self._losses.catch_up()
                self._save(position, optimisers.state())
            if stopping:
                raise _Interrupted
        self._losses.catch_up()
        # Even if no step was left to run after a resume, the recorded rates must be those of the last step.
        self._set_rates(phase, optimisers, position.epoch, len(batches) - 1, len(batches))
        self._finish_epoch(phase, position, optimisers.learning_rates)
        self._save(position, optimisers.state())

    def _set_rates(self, phase: Phase, optimisers: Optimisers, epoch: int, step: int, steps: int) -> None:
        """Set the learning rates of a step; ``steps`` is the number of steps per epoch."""
        cycle = cycle_epochs(self.config.cycle, self._epochs(phase))
        if cycle is not None:
            updates = max(Counter(update.group for update in phase.updates).values())
            optimisers.scale_rates(one_cycle((epoch - 1) * steps + step, cycle * steps, updates))

    def _finish_epoch(self, phase: Phase, position: Position, rates: dict[str, float]) -> None:
        """Validate, save the best weights, write the history and move on to the next epoch."""
        check_weights(self.model, self._processes, position.epoch)
        metrics: dict[str, float] = {}
        best = False
        if phase.validate:
            with self._average.in_place():
                value = self._validator.measure() if self._validates else position.best_value
                best = value > position.best_value or not self._validates
                if best:
                    self._checkpoints.save_best(self.model.state_dict(), position.phase, position.epoch)
                    position.best_epoch, position.best_value = position.epoch, value
            metrics = {self.config.metric: value} if self._validates else {}
        record = EpochRecord(
            phase.name, position.epoch, position.seconds, position.means, metrics, best, rates
        )
        position.history.append(record)
        if self._processes.main:
            write_history(self.directory / "history.jsonl", position.history)
        self._reporter.epoch_finished(record)
        position.next_epoch()

    @property
    def _validates(self) -> bool:
        """Whether there are validation targets; if there are none, the newest weights count as the best."""
        return len(self.split.validation) > 0

    def _context(self, position: Position) -> FitContext:
        key = (self.seed, Stream.CLUSTERING, position.phase, position.epoch)
        return FitContext(self.split.training, position.epoch, lambda: generator(*key))

    def _load_best(self, position: Position) -> bool:
        """Load the best weights into the model; False if there are none yet."""
        if not position.best_epoch:
            return False
        self._load(self._checkpoints.load_best(position.phase, position.best_epoch))
        return True

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        """Load weights of the checkpoint into the model.

        Raises:
            TrainingError: the weights do not fit the model.
        """
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as problem:
            complaint = str(problem).splitlines()[-1].strip()  # the first line only announces the errors
            raise TrainingError(
                f"{self.directory / CHECKPOINT}: does not fit the model: {complaint}; "
                "train from scratch into another --out"
            ) from None

    def _save(self, position: Position, optimisers: dict[str, Tensor]) -> None:
        position.elapsed = time.perf_counter() - self._began
        parts = {"model": self.model.state_dict(), "adam": optimisers, "average": self._average.state()}
        self._checkpoints.save(position, parts)
        self._saved_at = time.monotonic()
