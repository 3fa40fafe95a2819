"""The text of a split rule is complete: the rule survives commands and runs unchanged."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mclrec
from mclrec.data.loading import prepare
from mclrec.data.moments import check_moment, time_of
from mclrec.data.split import by_time, make_split
from mclrec.data.split_rules import SplitRule
from mclrec.errors import ConfigError, DataError, EvaluationError, TrainingError

DAY = 86400
START = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
VALID, TEST = "2024-01-08", "2024-01-10"


@pytest.mark.parametrize(
    "rule",
    [SplitRule(), SplitRule("time"), SplitRule("time", VALID, TEST), SplitRule("time", "-5", "17")],
)
def test_text_and_words_say_the_rule(rule: SplitRule) -> None:
    assert SplitRule.of(str(rule)) == rule
    words = dict(zip(rule.words()[::2], rule.words()[1::2], strict=True))
    given_again = SplitRule.of(
        words.get("--split", "leave-one-out"), words.get("--valid-from"), words.get("--test-from")
    )
    assert given_again == rule


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("leave-one-out", VALID, TEST), "takes no moments"),
        (("time", VALID, None), "both moments"),
        (("time", None, TEST), "both moments"),
        (("time", "soon", TEST), "valid-from: 'soon' is not a moment"),
        (("time", VALID, "2024-13-01"), "test-from: '2024-13-01' is not a moment"),
        (("time", True, TEST), "valid-from"),
        (("time", 1.5, TEST), "valid-from"),
        (("tiem", None, None), "split"),
        (("time(1, 2)", 1, 2), "split"),
    ],
)
def test_what_is_no_rule_is_refused(options: tuple[str, object, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SplitRule.of(*options)


def test_dates_of_python_are_moments() -> None:
    zone = timezone(timedelta(hours=2))
    rule = SplitRule.of("time", date(2024, 1, 8), datetime(2024, 1, 10, 2, tzinfo=zone))
    assert rule == SplitRule("time", "2024-01-08", "2024-01-10T02:00:00+02:00")
    assert SplitRule.of(str(rule)) == rule


@given(
    instant=st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1)),
    unit=st.sampled_from([1, 10**3, 10**6, 10**9]),
)
def test_a_date_is_the_first_time_that_is_not_before_it(instant: datetime, unit: int) -> None:
    times = np.array([0, START * unit])
    found = time_of(check_moment("valid-from", instant), times, "log")
    seconds = (instant.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert (found - 1) * 10**6 < seconds * unit <= found * 10**6


def test_dates_where_times_are_no_moments() -> None:
    with pytest.raises(DataError, match="log: its times, up to 17, do not count from a known moment"):
        time_of(VALID, np.array([3, 17]), "log")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rng = np.random.default_rng(2)
    rows = [
        f"{user},{item},{START + DAY * day + user}"
        for user in range(30)
        for day, item in enumerate(rng.permutation(20)[:12])
    ]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["user,item,time", *rows]) + "\n")
    return path


def test_dates_split_as_their_times_do(log: Path) -> None:
    data = prepare(log, min_count=1)
    split = make_split(data, f"time({VALID}, {TEST})")
    wanted = by_time(data, START + 7 * DAY, START + 9 * DAY)
    assert split.name == wanted.name
    assert split.training.items.tolist() == wanted.training.items.tolist()
    assert split.test.places.tolist() == wanted.test.places.tolist()
    with pytest.raises(DataError, match=r"nothing for test; times are 2024-01-01T00:00:00Z to 2024-01-12"):
        make_split(data, f"time({VALID}, 2024-02-01)")


@pytest.mark.slow
def test_moments_survive_in_runs(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reading = mclrec.Reading(min_count=1)
    common = {"reading": reading, "progress": False}
    run = mclrec.train(log, "markov", out="a", split="time", valid_from=VALID, test_from=TEST, **common)  # type: ignore[arg-type]
    assert run.info.split == f"time({VALID}, {TEST})"
    assert f"--split time --valid-from {VALID} --test-from {TEST}" in run.info.command
    assert mclrec.evaluate(run).metrics == run.metrics["U"]
    assert run.record.test["U"].protocol.split == f"by-time({START + 7 * DAY}, {START + 9 * DAY})"
    others = [
        mclrec.train(log, "popularity", out="b", split="time", **common),  # type: ignore[arg-type]
        mclrec.train(log, "popularity", out="c", **common),  # type: ignore[arg-type]
    ]
    for other in others:
        with pytest.raises(EvaluationError, match=r"was split by .*, a by time\(2024"):
            mclrec.compare([run, other])
    tiny = {"epochs": 1, "hidden_size": 8, "max_length": 6, **common}
    moved = {"split": "time", "valid_from": "2024-01-07", "test_from": TEST}
    mclrec.train(log, "sasrec", out="s", split="time", valid_from=VALID, test_from=TEST, **tiny)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="another split"):
        mclrec.train(log, "sasrec", out="s", resume=True, **moved, **tiny)  # type: ignore[arg-type]
