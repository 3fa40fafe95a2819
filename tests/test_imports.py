"""Start-up stays quick: slow modules are imported only when they are needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.inference.onnx_export import save_run

SLOW = ("torch", "numpy", "duckdb", "pyarrow", "narwhals", "pandas", "polars", "optuna", "tensorboard")


def imported(program: str) -> set[str]:
    """Slow modules that are imported after running a program in a fresh process."""
    ending = f"\nimport sys\nsys.stderr.write(' '.join(name for name in {SLOW!r} if name in sys.modules))"
    child = subprocess.run(
        [sys.executable, "-c", program + ending], capture_output=True, text=True, check=True
    )
    return set(child.stderr.split())


def command(*words: str) -> str:
    return (
        f"from mclrec.cli import main\ntry:\n    main({list(words)!r})\n"
        "except SystemExit as left:\n    assert not left.code"
    )


@pytest.mark.parametrize(
    "program",
    [
        "import mclrec; dir(mclrec)",
        command("--help"),
        command("train", "--help"),
        command("tune", "--help"),
        command("--version"),
    ],
)
def test_nothing_slow(program: str) -> None:
    assert imported(program) == set()


@pytest.mark.parametrize("words", [["models"], ["models", "--json"], ["datasets"]])
def test_lists_need_no_torch(words: list[str]) -> None:
    assert "torch" not in imported(command(*words))


def test_reading_data_needs_no_torch() -> None:
    program = "from mclrec.data.loading import load; load('complete-journey')"
    assert {"numpy", "duckdb"} <= imported(program)
    assert "torch" not in imported(program)


def test_the_check_sees_an_import() -> None:
    assert imported("import mclrec; mclrec.load") >= {"torch", "numpy"}


def test_a_model_is_loaded_without_the_training_stack(tmp_path: Path) -> None:
    save_run(tmp_path / "run", "mclrec")
    program = (
        "import sys, mclrec\n"
        f"model = mclrec.Model.load({str(tmp_path / 'run')!r})\n"
        "assert len(model.recommend(['item 001'], 3)) == 3\n"
        "print(*sys.modules)"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = set(child.stdout.split())
    assert "mclrec.models.mclrec" in modules
    unwanted = {"mclrec.api", "mclrec.training", "mclrec.recipes", "mclrec.runs", "duckdb", "narwhals"}
    assert not modules & (unwanted | {"pandas", "polars", "sklearn", "matplotlib"})
