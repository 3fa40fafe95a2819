"""Does cells, one after the other, beside other workers that may do the same ones."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from mclrec.errors import MclrecError
from mclrec.experiments.cells import Cell, Cells, command, finished
from mclrec.files import write_text
from mclrec.runs.train import TrainRequest, train

__all__ = ["ERROR", "do_cells", "in_process", "lock_of"]

ERROR = "error.txt"
"""Why a cell failed."""

_POLL = 1.0


def lock_of(directory: Path) -> FileLock:
    """Held by whoever does the cell of ``directory``; the system lets go of it when its process ends."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(directory.with_name(f".{directory.name}.lock"))


def do_cells(cells: Cells, wanted: Sequence[Cell]) -> bool:
    """Do what nobody else does, until nothing is left; False if a signal ended it.

    A cell that fails is written down and left; what others are at is waited for, lest they fail.
    """
    while True:
        states = [_do(cells, cell) for cell in wanted]
        if "interrupted" in states:
            return False
        if "taken" not in states:
            return True
        time.sleep(_POLL)


def _do(cells: Cells, cell: Cell) -> str:
    """One cell, if it is open: done, failed, interrupted; or taken by another."""
    directory = cells.directory(cell)
    if finished(directory):
        return "done"
    if (directory / ERROR).exists():
        return "failed"
    try:
        with lock_of(directory).acquire(timeout=0):
            return _train(cells, cell, directory)
    except Timeout:
        return "taken"


def _train(cells: Cells, cell: Cell, directory: Path) -> str:
    if finished(directory):  # by another, since it was looked at
        return "done"
    resume = (directory / "checkpoint" / "state.safetensors").exists()
    if not resume:
        shutil.rmtree(directory, ignore_errors=True)
    try:
        run = train(_request(cells, cell, directory, resume))
    except Exception as problem:
        text = str(problem) if isinstance(problem, MclrecError) else traceback.format_exc()
        write_text(directory / ERROR, text.rstrip() + "\n")
        return "failed"
    return str(run.record["status"]).replace("finished", "done")


def _request(cells: Cells, cell: Cell, directory: Path, resume: bool) -> TrainRequest:
    """The section is named: data of chosen users have another name than their data set."""
    section = cells.recipe(cell).section
    data = cells.datasets.of(cell)
    return TrainRequest(
        data, cell.model, section, cell.settings, cell.seed, directory, resume=resume, command=command(cell)
    )


def in_process(folder: str, wanted: Sequence[Cell], threads: int) -> None:
    """`do_cells` as a process of its own, that ends with its parent and leaves Ctrl-C to it."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(threads)
    try:
        do_cells(Cells(Path(folder)), wanted)
    except KeyboardInterrupt:  # between two cells
        return


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL)
    os.kill(os.getpid(), signal.SIGTERM)
