"""The table of gains from each contrastive method, per encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.helpers import tiny_data

from mclrec.errors import ConfigError
from mclrec.evaluation.metrics import per_user
from mclrec.evaluation.significance import p_text
from mclrec.experiments.campaign_plan import TARGETS, make_plan, target_names
from mclrec.experiments.encoder_tables import _cell
from mclrec.experiments.planned_runs import RunStore
from mclrec.experiments.reproduction import reproduce
from mclrec.experiments.target import Scope
from mclrec.models import registry
from mclrec.recipes import resolve
from mclrec.recipes.auto import DataSizes
from mclrec.report.page import write_report
from mclrec.report.target_sections import draw

ENCODERS, CONTRASTS = 7, 5
CONTRAST_NAMES = ["alone", "CL4SRec", "DuoRec", "MCLRec, two updates", "MCLRec, three updates"]


def test_every_encoder_has_every_contrast_and_all_settings_are_taken(tmp_path: Path) -> None:
    tiny_data().save(tmp_path / "data")
    plan = make_plan("encoders", Scope((str(tmp_path / "data"),), seeds=2), RunStore(tmp_path))
    rows = plan.rows["encoders"]
    assert len({row.row for row in rows}) == len(rows) == ENCODERS * CONTRASTS
    assert len(plan.runs) == 2 * len(rows)  # no two rows share a run
    models = [row.runs[0].model for row in rows]
    assert [models.count(name) for name in ("cl4srec", "duorec", "mclrec")] == [14, 7, 14]
    for row in rows:
        keys = registry.model_class(row.runs[0].model).config_type.model_fields
        assert row.runs[0].settings.keys() <= {*keys, "lambda"}


@pytest.mark.parametrize(
    ("models", "contrasts"),
    [
        (["mclrec"], ["alone", "MCLRec, two updates", "MCLRec, three updates"]),
        (["duorec", "cl4srec"], ["alone", "CL4SRec", "DuoRec"]),
        (["cl4srec", "duorec", "mclrec"], None),
        ([], None),
    ],
)
def test_models_choose_the_contrasts_beside_an_encoder_alone(
    models: list[str], contrasts: list[str] | None, tmp_path: Path
) -> None:
    place = str(tmp_path / "data")
    tiny_data().save(tmp_path / "data")
    store = RunStore(tmp_path)
    plan, whole = (make_plan("encoders", Scope((place,), models=chosen), store) for chosen in (models, []))
    rows = [row.row for row in plan.rows["encoders"]]
    if contrasts is None:
        assert rows == [row.row for row in whole.rows["encoders"]]
    else:
        assert rows[: len(contrasts)] == [f"post-norm, {name}" for name in contrasts]
        assert len(rows) == ENCODERS * len(contrasts)
    assert {store.key(run) for run in plan.runs} <= {
        store.key(run) for run in whole.runs
    }  # subset of the full plan's runs
    further = TARGETS["encoders"].further(store, plan.rows["encoders"])
    assert all(table.columns[1:] == (contrasts or list(CONTRAST_NAMES)) for table in further.tables)
    assert not further.changes


def test_a_model_without_such_a_contrast_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the contrasts of cl4srec, duorec, mclrec, .*: leave sasrec out"):
        TARGETS["encoders"].plan(Scope(("log.csv",), models=["mclrec", "sasrec"]))


def test_no_rule_of_auto_changes_an_encoder() -> None:
    many_short = DataSizes(22363, 12101, 202, 22512, 153_776, 0.0)  # auto adds a frequency filter here
    rows = TARGETS["encoders"].plan(Scope(("log.csv",)))
    planned = [row.runs[0] for row in rows]
    assert {run.recipe for run in planned} == {"auto"}
    found = [resolve(run.model, None, run.recipe, run.settings, many_short).config for run in planned]
    assert len({str(config) for config in found}) == len(rows)
    for row, config in zip(rows, found, strict=True):
        assert getattr(config, "alpha", 0.0) == (0.7 if "filter" in row.row else 0.0)
        assert getattr(config, "hidden_size", None) == (128 if row.row.startswith("wide") else 64)
        assert getattr(config, "co_occurrence", 0.0) == 4.0


def test_it_is_not_the_papers() -> None:
    assert "encoders" not in target_names("all")
    assert target_names("encoders") == ["encoders"]
    assert TARGETS["encoders"].origin == ""
    assert TARGETS["table3"].origin == " (paper, table 3)"


def test_a_cell_tells_the_change_and_how_sure_it_is() -> None:
    ranks = np.arange(1, 41)
    alone = per_user(ranks, "ndcg", 20)[None]
    assert _cell(alone, None).text == f"{alone.mean():.4f}"
    assert _cell(alone, alone).text.endswith(" (+0.0%, 1.0000)")
    better = np.stack([per_user(np.maximum(ranks - gain, 1), "ndcg", 20) for gain in (9, 10)])
    cell = _cell(better, alone)
    assert cell.mean == better.mean()
    least = p_text(2 / 10_001)
    assert cell.text == f"{better.mean():.4f} ({better.mean() / alone.mean() - 1:+.1%}, {least})"
    assert _cell(better, 0 * alone).text.endswith(f"(-, {least})")


@pytest.mark.slow
def test_it_is_trained_and_told(tmp_path: Path) -> None:
    tiny_data(users=60).save(tmp_path / "data")
    small = {"epochs": 1, "hidden_size": 8, "inner_size": 8, "max_length": 6, "batch_size": 32}
    [outcome], progress = reproduce("encoders", Scope((str(tmp_path / "data"),), settings=small), tmp_path)
    assert progress.complete, [state.problem for state in progress.runs if state.problem]
    gains = [table for table in outcome.tables if table.title.startswith("What a contrast adds")]
    assert len(gains) == 2
    for table in gains:
        assert [row for row, _ in table.rows] == [
            "post-norm",
            "relative",
            "filter",
            "HSTU",
            "GRU",
            "convolution",
            "wide filter",
        ]
        assert all("(" in cell.text for _, cells in table.rows for cell in cells[1:])
    changes = [row for row in outcome.measurements if row.metric not in TARGETS["encoders"].metrics]
    assert len(changes) == 2 * ENCODERS * (CONTRASTS - 1)
    for row in changes:
        encoder, _, contrast = row.row.partition(", ")
        [table] = [table for table in gains if f", {row.protocol}:" in table.title]
        [text] = [cells[table.columns.index(contrast) - 1].text for of, cells in table.rows if of == encoder]
        assert f"({row.mean:+.1%}, " in text
        assert row.low <= row.mean <= row.high
    text = write_report([tmp_path]).read_text(encoding="utf-8")
    assert text.count("<svg") == 2  # U and F
    [axes] = draw(TARGETS["encoders"], changes, changes[0].data, "F", changes[0].metric).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [row for row, _ in gains[0].rows]
    assert sum(line.get_marker() == "o" for line in axes.get_lines()) == CONTRASTS - 1
