"""Description of the processor of a run, with the manufacturer's model name."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from mclrec.machine import cpu_fields, processor
from mclrec.runs.run import RunRecord

CPU = torch.device("cpu")
INFO = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel\t\t: 7\nflags\t\t:\n\nmodel name\t: Other\n"


def test_a_field_is_that_of_the_first_core(tmp_path: Path) -> None:
    assert cpu_fields(tmp_path).get("model", "") == ""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(INFO)
    found = {
        name: cpu_fields(tmp_path).get(name, "") for name in ("model name", "model", "flags", "Features")
    }
    assert found == {"model name": "Some CPU @ 2 GHz", "model": "7", "flags": "", "Features": ""}
    assert processor(CPU, tmp_path).startswith("Some CPU @ 2 GHz, ")


def test_a_system_without_such_a_file_has_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert processor(CPU, tmp_path).startswith("arm64, ")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            {"processor": "Some CPU, AVX2", "threads": 2, "epochs": 3},
            "cpu (Some CPU, AVX2, 2 threads) in bf16",
        ),
        ({"processor": "Some CPU, AVX2", "threads": 1, "epochs": 0}, "cpu (Some CPU, AVX2, 1 thread)"),
        ({"processor": None, "threads": 1, "epochs": 3}, "cpu (1 thread) in bf16"),
    ],
)
def test_a_record_says_what_a_run_was_computed_on(found: dict[str, object], text: str) -> None:
    record = RunRecord.model_construct(device="cpu", **found)  # type: ignore[arg-type]
    assert record.machine("bf16") == text
