"""Start-up time of the command line and of the package."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.outcome import Outcome
from benchmarks.processes import Measurement
from benchmarks.session import Session
from benchmarks.summary import Finding, Spread

__all__ = ["measure_start"]

_SECONDS = 0.4


def measure_start(session: Session) -> Outcome:
    """Measure the median wall time of a whole process, with files cached."""
    python = Path(sys.executable)
    commands = {
        "mclrec --help": [str(python.with_name("mclrec")), "--help"],
        "import mclrec": [str(python), "-c", "import mclrec"],
    }
    runs: dict[str, list[Measurement]] = {name: [] for name in commands}
    for number in range(session.budget.starts + 1):
        for name, words in commands.items():
            measured = session.run_command(name, words)
            if number:  # the first run reads the files from the disk
                runs[name].append(measured)
    sides = {name: Spread(tuple(run.seconds for run in of_name), "s") for name, of_name in runs.items()}
    return Outcome(
        findings=[Finding(f"`{name}`", spread.median, "s", _SECONDS) for name, spread in sides.items()],
        sides=sides,
        runs=runs,
    )
