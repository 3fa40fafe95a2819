"""The page of a rolling evaluation shows the numbers of its table, and loads no other file."""

from __future__ import annotations

import re
from pathlib import Path

from mclrec.evaluation.significance import Interval
from mclrec.report.backtest_page import write_backtest_page
from mclrec.runs.backtest_results import Backtest, Window


def test_the_page(tmp_path: Path) -> None:
    windows = (
        Window("leave-one-out", "leave-one-out", None, None, 90, 90, 0, 0),
        Window(
            "cut 1",
            "time(1, 2)",
            "2024-01-01T00:00:00Z",
            "2024-02-01T00:00:00Z",
            50,
            40,
            5,
            10,
            ("the k-core <b>",),
        ),
        Window("cut 2", "time(2, 3)", "2024-02-01T00:00:00Z", None, 60, 60, 0, 6),
    )
    values = {
        "popularity": tuple(Interval(mean, mean - 0.01, mean + 0.01) for mean in (0.1, 0.3, 0.2)),
        "markov": tuple(Interval(mean, mean - 0.01, mean + 0.01) for mean in (0.2, 0.1, 0.1)),
    }
    found = Backtest("log", "0" * 64, "F", "NDCG@10", 1, "first", windows, values)
    text = write_backtest_page(found, tmp_path / "page.html").read_text(encoding="utf-8")
    assert (
        "order the models differently (Kendall&#39;s tau -1.00): only leave-one-out has markov before popularity"
        in text
    )
    assert "0.3000 (0.2900 to 0.3100)" in text
    assert "0.2500" in text  # the mean of the cuts
    assert "<td>cut 2</td>" in text
    assert "the end" in text
    assert "10 %" in text
    assert "the k-core &lt;b&gt;" in text
    assert text.count("<svg") == 1
    assert not re.search(r"(src|href)=[\"'](?!#)", text)
