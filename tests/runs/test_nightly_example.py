"""The nightly example: its measurements of the previous day, and the rollback of a model that the service refuses."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.helpers import at_random_times, tiny_data, write_log
from tests.serving.rest.conftest import save_directory

EXAMPLE = Path(__file__).parents[2] / "examples" / "nightly"


@pytest.fixture
def night(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    for name in ("night", "shop", "month"):
        sys.modules.pop(name, None)
    import night  # type: ignore[import-not-found]  # a script beside the package

    return night  # type: ignore[no-any-return]


def test_purchases_since_a_moment(night: ModuleType, tmp_path: Path) -> None:
    data = tiny_data(users=20)
    log = write_log(tmp_path / "log.csv", data)
    since = int(data.offsets[10]) + 2  # the eleventh user has three items up to then
    found = night.purchases_since(log, since)
    names = [str(data.item_ids[item]) for item in data.items.tolist()]
    start, stop = data.offsets[10:12].tolist()
    assert found.users == [str(data.user_ids[11])]
    assert (found.histories, found.items) == ([names[start : start + 3]], [names[start + 3 : stop]])
    assert night.purchases_since(log, len(data.items)) == night.Purchases()


def test_gains_are_means_over_what_was_bought(night: ModuleType) -> None:
    found = night.gains([["a", "b", 7], ["a"], []], [["b", "x"], ["a"], ["a"]])
    assert found.tolist() == pytest.approx([(1 / np.log2(3)) / 2, 1.0, 0.0])
    assert night.gains([["a", 7]], [["7"]]).tolist() == pytest.approx([1 / np.log2(3)])


def test_a_model_is_worse_only_if_that_is_sure(night: ModuleType, tmp_path: Path) -> None:
    data = tiny_data(users=60, items=30)
    log = write_log(tmp_path / "log.csv", data)
    names = [str(item) for item in data.item_ids]

    def next_one(histories: Any) -> list[list[str]]:
        return [[names[(names.index(history[-1]) + 1) % len(names)]] for history in histories]

    def none(histories: Any) -> list[list[str]]:
        return [["nothing"] for _ in histories]

    since = len(data.items) // 2
    night_of_all = [
        night.compared(*pair, log, since) for pair in ((none, next_one), (next_one, none), (none, none))
    ]
    # Users' times do not overlap: only one user spans `since`.
    assert [one.users for one in night_of_all] == [1, 1, 1]
    assert not any(one.worse for one in night_of_all)  # one user proves nothing
    assert night.Verdict(900, 0.01, 0.03, 0.001).worse
    assert not night.Verdict(900, 0.01, 0.03, 0.2).worse
    assert not night.Verdict(900, 0.03, 0.01, 0.001).worse


def test_a_model_that_the_service_refuses_does_not_stay(night: ModuleType, tmp_path: Path) -> None:
    class Refusing:
        def ask(self, path: str, body: object) -> None:
            raise RuntimeError("the model in the directory shares 0 of 40 items")

    old, new, live = (
        save_directory(tmp_path / "old"),
        save_directory(tmp_path / "new", seed=2),
        tmp_path / "live",
    )
    night.exchange(live, old, None)
    with pytest.raises(RuntimeError, match="shares 0 of 40 items"):
        night.exchange(live, new, Refusing())
    assert live.resolve() == old
    assert night.last_night(live) is None
    night.note(live, night.Night("out", 7, before="a", live="b", outcome="accepted"))
    last = night.last_night(live)
    assert (last.until, last.before, last.outcome) == (7, "a", "accepted")


class TinyShop:
    """A shop whose log has a hundred days with a hundred time steps each."""

    def __init__(self) -> None:
        self.data = at_random_times(tiny_data(users=60, items=30, shortest=10, longest=16))

    def log(self, path: Path, day: date) -> Path:
        until = (day - date(2026, 1, 1)).days * 100
        whole = write_log(path, self.data).read_text(encoding="utf-8").splitlines()
        kept = [line for line in whole[1:] if int(line.rpartition(",")[2]) < until]
        path.write_text("\n".join([whole[0], *kept]), encoding="utf-8")
        return path


@pytest.mark.filterwarnings("ignore::mclrec.errors.MclrecWarning")
def test_a_month_goes_on_where_it_was_left(
    night: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import month  # type: ignore[import-not-found]  # a script beside the package

    settings = {"layers": 1, "hidden_size": 8, "max_length": 6, "epochs": 1}
    plan = month.Plan("sasrec", 3, settings, date(2026, 3, 1), 10)
    played = month.Month(TinyShop(), tmp_path / "month", plan)
    (tmp_path / "month" / "anew-2026-03-11").mkdir()  # left by an interrupted night
    first = played.run(1)
    monkeypatch.setattr(month.Month, "night", None)  # no night is repeated
    assert month.Month(TinyShop(), tmp_path / "month", plan).run(1) == first
    [one] = first
    assert (one.day, one.outcome in ("accepted", "refused")) == ("2026-03-11", True)
    assert one.gains["never"].keys() == one.gains["updated"].keys() == one.gains["anew"].keys()
    assert len(one.gains["anew"]) > 20
    assert one.epochs["anew"] == 2
    assert one.minutes["anew"] > 0
    with pytest.raises(SystemExit, match="a month of other settings"):
        month.Month(TinyShop(), tmp_path / "month", month.Plan("sasrec", 4, settings, date(2026, 3, 1), 10))


def of_two_nights(month: ModuleType) -> list[Any]:
    """Two nights: the second has the household of the first and 60 more."""
    worth = {"never": 0.0, "updated": 0.5, "anew": 0.25}
    first = {way: {"a": value} for way, value in worth.items()}
    second = {way: {"a": value / 2, **{f"b{i}": value for i in range(60)}} for way, value in worth.items()}
    return [
        month.Night(
            "2026-03-01", 1234, first, dict.fromkeys(worth, 1.0), dict.fromkeys(worth, 2), "accepted"
        ),
        month.Night(
            "2026-03-11", 2345, second, dict.fromkeys(worth, 2.0), dict.fromkeys(worth, 3), "refused"
        ),
    ]


def test_a_household_counts_once_in_a_month(night: ModuleType) -> None:
    import month

    found = month.summary(of_two_nights(month))
    assert (found["households"], found["minutes"]["anew"], found["epochs"]["updated"]) == (61, 3.0, 5)
    assert found["gains"]["updated"] == pytest.approx((60 * 0.5 + 0.375) / 61)
    assert found["updated_less"]["anew"]["difference"] == pytest.approx((60 * 0.25 + 0.1875) / 61)
    assert found["updated_less"]["never"]["p"] < 0.001
    table = month.table(found).splitlines()
    assert table[2] == "| 2026-03-01 | 1 | 0.0000 | 0.5000 | 0.2500 | 1.0 (2) | 1.0 (2) |"
    assert table[3].endswith("| 2.0 (3), refused | 2.0 (3) |")
    assert table[4] == "| all | 61 | 0.0000 | 0.4980 | 0.2490 | 3.0 (5) | 3.0 (5) |"
    assert table[-1].startswith("- updated less never: +0.4980, 95 % interval +0.49")
    assert table[-1].endswith("p < 0.001")
    assert len({line.count("|") for line in table[:5]}) == 1


def test_the_page_shows_the_published_month(night: ModuleType) -> None:
    import month

    root = EXAMPLE.parents[1]
    found = json.loads(
        (root / "results" / "nights" / "complete-journey-sasrec-seed1.json").read_text(encoding="utf-8")
    )
    page = (root / "docs" / "nightly.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- month: begin -->\n")[2].partition("\n<!-- month: end -->")[0]
    assert shown == month.table(found)
    assert found["command"] in page
    assert found["data"]["fingerprint"][:12] in page
    assert found["protocol"] == month.PROTOCOL
