"""The report on judged lists: numbers, claims and decisions, under both protocols."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mclrec.data.split import Targets
from mclrec.evaluation.recommended_columns import ListColumns
from mclrec.evaluation.slices import Slicing, measure_slices, slicings
from mclrec.report.judged_page import report_judged
from mclrec.runs.judging import Case, Judged, open_case
from mclrec.runs.run import Run


def lists_of(targets: Targets, length: int) -> pd.DataFrame:
    """Lists with the same items for every user."""
    data = targets.data
    users = [data.user_ids[user + 1] for user in targets.users.tolist()]
    rows = [(user, data.item_ids[item], item) for user in users for item in range(1, length + 1)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rank"])


def case_of(given: Mapping[str, Any]) -> Case:
    return open_case(given, ListColumns())


def drawn_slicings(found: Judged) -> list[Slicing]:
    """Slicings with targets in more than one slice, which are those that the report draws."""
    table = next(iter(found.systems.values())).tables[0]
    return [one for one in slicings(table) if len(set(one.places.tolist())) > 1]


def test_the_report_holds_numbers_claims_and_decisions(runs: list[Run], tmp_path: Path) -> None:
    own = {run.info.model: run for run in runs}
    case = case_of({**own, "<b>theirs": lists_of(case_of(own).split.test, 5)})
    found = [case.judged(rule) for rule in case.rules]
    text = report_judged(case, found, tmp_path / "judged.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;theirs" in text
    assert "<b>theirs" not in text
    for one in found:
        for row in one.rows:
            for name, value in row.metrics.items():
                assert f"{value:.4f}" in text, name
            assert row.claim is None or row.claim.replace("<b>", "&lt;b&gt;") in text
        assert one.lists[0].notes[0].replace("'", "&#39;") in text
    assert "popularity (baseline)" in text
    assert text.count("<svg") == 2 + len(drawn_slicings(found[0]))
    assert not re.search(r'(?:src|href)="(?!#)', text)


def test_slices_of_lists_are_those_of_their_ranks(runs: list[Run], tmp_path: Path) -> None:
    """The weighted mean over the slices of a slicing is the overall metric."""
    own = {run.info.model: run for run in runs}
    case = case_of({"theirs": lists_of(case_of(own).split.test, 5), **own})
    found = case.judged("drop")
    text = report_judged(case, [found], tmp_path / "judged.html").read_text(encoding="utf-8")
    assert "by user (F)" in text
    assert "earlier version" not in text
    tables = {label: system.tables for label, system in found.systems.items()}
    for slicing in slicings(tables["theirs"][0]):
        assert f"{found.metric} by {slicing.title} (F)".replace("'", "&#39;") in text
        slices = measure_slices([slicing], tables, [found.metric])
        values = [one for one in slices.values if one.system == "theirs" and one.mean is not None]
        assert all(one.text in text for one in values)
        mean = sum(one.share * (one.mean or 0) for one in values)
        assert mean == pytest.approx(found.rows[0].metrics[str(found.metric)])


def test_one_system_is_reported_alone(runs: list[Run], tmp_path: Path) -> None:
    case = case_of({"markov": runs[0]})
    text = report_judged(case, [case.judged("keep")], tmp_path / "one.html").read_text(encoding="utf-8")
    assert "there is no other system to compare with" in text
    assert "Differences" not in text
