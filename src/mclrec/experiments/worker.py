"""Does cells, one after the other, beside other workers that may do the same ones."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from filelock import Timeout

from mclrec.data.noise import with_noise
from mclrec.errors import MclrecError
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import evaluate
from mclrec.experiments.cells import Cell, Cells, command, finished, noisy_part, unmeasured
from mclrec.files import write_text
from mclrec.models.storage import load_model
from mclrec.randomness import Stream, generator
from mclrec.runs.command import begin_or_resume
from mclrec.runs.run import ranks_path
from mclrec.runs.sources import make_split
from mclrec.runs.train import TrainRequest, resolve_device, train
from mclrec.runs.workers import lock_of

__all__ = ["ERROR", "do_cells", "in_process"]

ERROR = "error.txt"
"""Why a cell failed."""

_POLL = 1.0
_SEEN: tuple[Seen, ...] = ("keep", "drop")


def do_cells(cells: Cells, wanted: Sequence[Cell]) -> bool:
    """Do what nobody else does, until nothing is left; False if a signal ended it.

    A cell that fails is written down and left; what others are at is waited for, lest they fail.
    """
    while True:
        taken = False
        for cell in wanted:
            state = _do(cells, cell)
            if state == "interrupted":  # and no other one is begun
                return False
            taken |= state == "taken"
        if not taken:
            return True
        time.sleep(_POLL)


def _do(cells: Cells, cell: Cell) -> str:
    """One cell, if it is open: done, failed, interrupted; or taken by another."""
    directory = cells.directory(cell)
    if cells.done(cell):
        return "done"
    if (directory / ERROR).exists():
        return "failed"
    try:
        with lock_of(directory).acquire(timeout=0):
            return _attempt(cells, cell, directory)
    except Timeout:
        return "taken"


def _attempt(cells: Cells, cell: Cell, directory: Path) -> str:
    """What is missing of it: the run, or measurements of it."""
    try:
        if not finished(directory) and not _train(cells, cell, directory):
            return "interrupted"
        for share in cell.noise:
            if unmeasured(directory, share):
                _measure_with_noise(cells, cell, directory, share)
    except Exception as problem:
        text = str(problem) if isinstance(problem, MclrecError) else traceback.format_exc()
        write_text(directory / ERROR, text.rstrip() + "\n")
        return "failed"
    return "done"


def _train(cells: Cells, cell: Cell, directory: Path) -> bool:
    """Whether it came to its end."""
    request = _request(cells, cell, directory, begin_or_resume(directory))
    return bool(train(request).record["status"] == "finished")


def _measure_with_noise(cells: Cells, cell: Cell, directory: Path, share: float) -> None:
    """Ranks behind histories with some noise, the same for every model and seed."""
    split = make_split(cells.datasets.of(cell), "leave-one-out")
    noisy = with_noise(split, share, generator(0, Stream.NOISE, round(1000 * share)))
    loaded = load_model(directory, resolve_device("auto"))
    for seen in _SEEN:
        result = evaluate(loaded.model, noisy, name=loaded.name, seen=seen, seed=cell.seed)
        result.save_ranks(ranks_path(directory, noisy_part(share), result.protocol.label))


def _request(cells: Cells, cell: Cell, directory: Path, resume: bool) -> TrainRequest:
    """The section is named: data of chosen users have another name than their data set."""
    section = cells.recipe(cell).section
    data = cells.datasets.of(cell)
    return TrainRequest(
        data,
        cell.model,
        section,
        cell.settings,
        cell.seed,
        directory,
        resume=resume,
        command=command(cell),
        track=cells.track,
    )


def in_process(folder: str, wanted: Sequence[Cell], track: str | None) -> None:
    """`do_cells` as what a worker does."""
    do_cells(Cells(Path(folder), track=track), wanted)
