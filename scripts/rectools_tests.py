"""Run the tests of `mclrec.integrations.rectools` in RecTools' environment: a part of ``make test-judge``."""

from __future__ import annotations

import os
import subprocess
import sys

from rich.console import Console

from benchmarks.environments import peer_python
from benchmarks.processes import ROOT, BenchmarkError

TESTS = "tests/integrations/test_rectools_model.py"


def main() -> None:
    python = peer_python("rectools", Console(), with_ours=True)
    words = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"{TESTS} fails with RecTools")


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as problem:
        sys.exit(str(problem))
