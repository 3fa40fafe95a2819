"""The intake as text: what was dropped is reported, and every option that a warning names exists."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer

from mclrec.cli.commands import app
from mclrec.data import intake_text
from mclrec.data.intake import Intake
from mclrec.data.intake_text import intake_lines, intake_warnings, summary
from mclrec.data.loading import prepare
from mclrec.wording import percent


def taken(rows: Sequence[tuple[Any, Any, int]], **options: Any) -> Intake:
    data = prepare(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), **options)
    assert data.taken is not None
    return data.taken


def ordinary(users: int = 120) -> list[tuple[int, int, int]]:
    """A log that causes no warning."""
    rng = np.random.default_rng(0)
    rows: list[tuple[int, int, int]] = []
    for user in range(users):
        items = rng.permutation(40)[:8]
        rows += [(user, int(item), 1_700_000_000 + 1000 * user + place) for place, item in enumerate(items)]
    return rows


def kinds(intake: Intake) -> list[str]:
    return [warned.kind for warned in intake_warnings(intake)]


def test_an_ordinary_log_calls_for_no_care() -> None:
    found = taken(ordinary())
    assert kinds(found) == []
    assert [label for label, _ in intake_lines(found)] == [
        "log",
        "read",
        "left",
        "histories",
        "popularity",
        "returns",
    ]
    assert "960 rows, 120 users, 40 items; 2023-11-14T22:13:20Z to 2023-11-16" in summary(found)
    assert "history items excluded (F) suits" in summary(found)


def test_what_the_core_left_is_loud() -> None:
    rare = [(f"rare{number}", f"item{number}", number) for number in range(2000)]
    found = taken([*((f"u{user}", f"i{item}", time) for user, item, time in ordinary()), *rare])
    assert dict(intake_lines(found))["dropped"] == (
        "2,000 rows (68 %), 2,000 users (94 %), 2,000 items (98 %): users and items with too few rows (--min-count 5)"
    )
    [warned] = intake_warnings(found)
    assert warned.kind == "k-core"
    assert warned.text.startswith("only 960 of 2,960 rows and 120 of 2,120 users are left")
    assert "--min-count 1 keeps all" in warned.text


def test_ties_and_times() -> None:
    rows = ordinary()
    assert kinds(taken([(user, item, time // 2) for user, item, time in rows])) == ["ties"]
    assert kinds(taken([(user, item, 5) for user, item, _ in rows])) == ["order"]
    some = [(user, item, time // 2 if user < 8 else time) for user, item, time in rows]
    [warned] = intake_warnings(taken(some))
    assert warned.text.startswith("6.7 % of rows share their time")
    assert kinds(taken([(user, item, time // 2 if user < 2 else time) for user, item, time in rows])) == []


def test_suspects_few_and_short() -> None:
    rows = ordinary()
    strings = [(user, str(item), time) for user, item, time in rows]
    assert kinds(taken([*strings, *((user, "home", time + 500) for user, _, time in strings)])) == ["item"]
    assert kinds(taken([*rows, *rows])) == ["ties", "duplicates"]
    assert kinds(taken(ordinary(50))) == ["users"]
    assert kinds(
        taken([*rows, *((1000 + user, 1, 1_700_000_000 + user) for user in range(60))], min_count=1)
    ) == ["short"]


def test_warnings_name_options_that_there_are() -> None:
    source = Path(intake_text.__file__).read_text(encoding="utf-8")
    command = typer.main.get_command(app).commands["inspect"]  # type: ignore[attr-defined]
    known = {name for parameter in command.params for name in parameter.opts}
    named = set(re.findall(r"--[a-z][a-z-]+", source))
    assert named
    assert named <= known


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50 %"),
        (0.994, "99.4 %"),
        (0.0004, "< 0.1 %"),
        (0.9996, "> 99.9 %"),
        (0.051, "5.1 %"),
    ],
)
def test_percent(share: float, shown: str) -> None:
    assert percent(share) == shown
