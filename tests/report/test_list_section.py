"""The report's section on lists shows the values of each run's own evaluation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mclrec.evaluation.protocol import SEEN_OF
from mclrec.report.list_sections import list_section
from mclrec.report.systems import open_study
from mclrec.runs.remeasure import evaluate_run
from mclrec.runs.run import Run


@pytest.fixture
def copies(runs: list[Run], tmp_path: Path) -> list[Run]:
    """Copies of the runs, which an evaluation may write to."""
    return [Run(Path(shutil.copytree(run.directory, tmp_path / run.directory.name))) for run in runs]


@pytest.mark.parametrize("label", ["U", "F"])
def test_values_are_those_of_each_run(copies: list[Run], label: str) -> None:
    study = open_study([run.directory for run in copies])
    section = list_section(study, label)
    [table], [picture] = section.tables, section.pictures
    assert list(table.columns) == ["measure", "markov", "sasrec", "popularity", "what users took next"]
    shown = {name: [cell.text for cell in cells] for name, cells in table.rows}
    for place, run in enumerate(copies):
        further = evaluate_run(run, seen=SEEN_OF[label], metrics="all").further
        assert further is not None
        own = further.systems[run.info.model]
        for measure in further.measures:
            if measure.key != "vector_diversity":  # uses the model's own vectors: not comparable
                value = own[measure.key]
                assert shown[measure.title][place] == ("" if value is None else format(value, measure.form))
        assert shown["novelty, bits"][-1] == format(further.targets["novelty"] or 0.0, ".2f")
    assert "popularity" in picture


def test_what_cannot_be_measured_is_said(copies: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study([run.directory for run in copies])
    monkeypatch.setattr("mclrec.runs.baselines._MOST_CELLS", 10)
    assert list_section(study, "F").text == [
        "Not measured, because there are so many targets: use mclrec evaluate RUN --metrics all."
    ]
    monkeypatch.undo()
    (copies[1].directory / "model.safetensors").unlink()
    [problem] = list_section(study, "F").text
    assert problem.startswith("None: ")
    assert "model.safetensors" in problem
