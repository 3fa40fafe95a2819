"""Run tests in an environment with the lowest versions that pyproject.toml allows: ``make test-lowest``.

uv resolves every direct dependency to its lower bound, and transitive ones to compatible versions. The result is
installed into its own environment, .venv-lowest, and a part of the tests that goes through every room runs there. A
bound is too low if these tests, uv or the installation fail.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from scripts.empty_environment import ROOT, EmptyEnvironment, call, newcomers_variables

FOLDER = ROOT / ".venv-lowest"
EXTRAS = ("report", "serve", "otel", "index", "tune", "test")
TESTS = (
    "tests/test_api.py",
    "tests/data/test_backends.py",
    "tests/data/test_readers.py",
    "tests/data/test_cases.py",
    "tests/data/test_conditions.py",
    "tests/data/test_parquet_files.py",
    "tests/data/test_split.py",
    "tests/training/test_trainer.py",
    "tests/training/test_resume.py",
    "tests/training/test_checkpoint.py",
    "tests/evaluation/test_protocol.py",
    "tests/evaluation/test_listed_ranks.py",
    "tests/inference/test_model.py",
    "tests/inference/test_bulk.py",
    "tests/inference/test_exporter.py",
    "tests/inference/test_index.py",
    "tests/cli/test_app.py",
    "tests/cli/test_tune.py",
    "tests/report/test_run_report.py",
    "tests/serving/rest/test_direct.py",
    "tests/serving/rest/test_process.py",
    "tests/serving/rest/test_rest_app.py",
    "tests/serving/rest/test_tracing.py",
)


def lowest_versions(pins: Path) -> None:
    """Write the lowest compatible versions, one per line."""
    uv = Path(sys.executable).parent / "uv"
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    words: list[str | Path] = [
        "--quiet",
        "--resolution",
        "lowest-direct",
        "--no-header",
        "--no-annotate",
        "--output-file",
        pins,
    ]
    call(uv, "pip", "compile", *words, *extras, ROOT / "pyproject.toml")


def main() -> None:
    """Create the environment, unless it already has exactly these versions, and run the tests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", nargs="*", default=TESTS, help="files of tests; a part of all if not given")
    tests = parser.parse_args().tests
    FOLDER.mkdir(exist_ok=True)
    wanted, installed = FOLDER / "wanted.txt", FOLDER / "installed.txt"
    lowest_versions(wanted)
    environment = EmptyEnvironment(FOLDER / "environment", pins=wanted)
    if not installed.exists() or installed.read_text() != wanted.read_text():
        environment.create()
        environment.install("--editable", f"{ROOT}[{','.join(EXTRAS)}]")
        installed.write_text(wanted.read_text())
    data = {name: value for name, value in os.environ.items() if name == "MCLREC_DATA"}
    skipped = "not slow and not gpu and not onnx and not browser and not attack and not spark"
    words = ["-m", "pytest", "-q", "-m", skipped, *tests]
    call(environment.python, *words, folder=ROOT, variables=newcomers_variables() | data)


if __name__ == "__main__":
    main()
