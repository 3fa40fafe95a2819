"""Several models in one process (arms): assignment of requests, its stability, and how it is reported."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.rest.conftest import Counting, make_service, save_directory, serving

from mclrec.cli.commands.serve import _shares
from mclrec.errors import ConfigError, ModelFileError
from mclrec.inference.runtime import Runtime
from mclrec.serving.rest.arms import Arm, Arms, check_shares, named_runs, position
from mclrec.serving.rest.model_store import ModelStore
from mclrec.serving.rest.routes import make_app
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics, configure_logs

MINE = {"A": 90.0, "B": 10.0}


@pytest.fixture(autouse=True)
def _no_logs_later() -> Iterator[None]:
    yield
    logging.getLogger("mclrec.serving").handlers.clear()


def arms(split: Mapping[str, float] = MINE, metrics: Metrics | None = None) -> Arms:
    """Models that read histories of different length and so answer differently; reloading B fails."""
    shares = check_shares(split, list(split))
    told = metrics or Metrics(several=True)

    def load(name: str) -> Runtime:
        if name == "B":
            raise ModelFileError("b: damaged")
        return make_service(version=f"{name}-2")

    return Arms(
        [
            Arm(
                name,
                ModelStore(
                    lambda name=name: load(name),  # type: ignore[misc]
                    make_service(Counting(max_length=1 + place), f"{name}-1"),
                    Settings.of(),
                    told,
                    name,
                ),
                share,
            )
            for place, (name, share) in enumerate(shares.items())
        ]
    )


def chosen(test: Arms, count: int = 4000) -> list[str]:
    return [test.choose(f"user {number}", None)[0].name for number in range(count)]


def test_where_keys_are_does_not_change_with_versions() -> None:
    """A/B tests run across releases, so these numbers must never change."""
    found = [round(position("A|B", key), 6) for key in ("user ann", "session ann", "user 7", "user é")]
    assert found == PLACES


PLACES = [0.635067, 0.762396, 0.087356, 0.662472]


def test_shares_are_kept_and_a_change_moves_only_who_has_to() -> None:
    async def work() -> None:
        nine, eight, same = (
            chosen(arms()),
            chosen(arms({"A": 80, "B": 20})),
            chosen(arms({"A": 0.9, "B": 0.1})),
        )
        assert same == nine
        assert Counter(nine)["B"] == pytest.approx(400, abs=60)
        assert Counter(eight)["B"] == pytest.approx(800, abs=80)
        assert all(after == "B" for before, after in zip(nine, eight, strict=True) if before == "B")
        other = chosen(arms({"A": 50, "C": 50}))
        half = chosen(arms({"A": 50, "B": 50}))
        agree = sum((one == "A") == (two == "A") for one, two in zip(other, half, strict=True))
        assert agree == pytest.approx(2000, abs=150)  # another test is divided independently
        dark = arms({"A": 1, "B": 0})
        assert set(chosen(dark)) == {"A"}

    asyncio.run(work())


def test_a_user_goes_before_a_session_and_is_one_as_text_and_as_number() -> None:
    async def work() -> None:
        test = arms({"A": 1, "B": 1, "C": 1})
        for number in range(50):
            by_user = test.choose(number, None)
            assert by_user == test.choose(str(number), "another session")
            assert by_user[1] == "user"
            assert test.choose(None, str(number))[1] == "session"
        assert test.choose(None, None) == (test.first, "none")
        assert {test.choose(None, f"{number}")[0].name for number in range(50)} == {"A", "B", "C"}

    asyncio.run(work())


@asynccontextmanager
async def client(**limits: Any) -> AsyncIterator[httpx.AsyncClient]:
    settings, metrics = Settings.of(**limits), Metrics(several=True)
    app = make_app(arms({"A": 50, "B": 50}, metrics), settings, metrics)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://localhost"
    ) as http:
        yield http


def test_each_key_keeps_its_model_and_answers_are_that_model_s() -> None:
    asked: list[dict[str, Any]] = [
        {"history": ["item 03", "item 04"], "user": f"user {number}", "k": 3} for number in range(30)
    ]
    asked += [{"session": f"s {number}", "history": ["item 03", "item 04"], "k": 3} for number in range(30)]
    asked.append({"history": ["item 03", "item 04"], "k": 3})

    async def work() -> None:
        async with client() as http, client() as another:
            single = [(await http.post("/recommend", json=one)).json() for one in asked]
            again = [(await another.post("/recommend", json=one)).json() for one in asked]
            batch = (await http.post("/recommend/batch", json={"requests": asked})).json()["answers"]
            assert single == again == batch
            assert {one["arm"] for one in single} == {"A", "B"}
            assert single[-1]["arm"] == "A"
            first = {"A": "item 05", "B": "item 07"}  # A reads only the newest item
            for one in single:
                assert one["model"] == f"{one['arm']}-1"
                assert one["items"][0]["item"] == first[one["arm"]]
            forced = [(await http.post("/recommend", json={**asked[0], "arm": arm})).json() for arm in "AB"]
            assert [one["arm"] for one in forced] == ["A", "B"]
            refused = await http.post("/recommend", json={**asked[0], "arm": "b"})
            assert refused.status_code == 422
            assert "unknown arm 'b'" in refused.json()["detail"]
            text = (await http.get("/metrics")).text
            by_user = Counter(one["arm"] for one in single[:30])
            for line in (
                f'mclrec_assigned_total{{arm="A",by="user"}} {2 * by_user["A"]}.0',
                f'mclrec_assigned_total{{arm="B",by="user"}} {2 * by_user["B"]}.0',
                'mclrec_assigned_total{arm="A",by="none"} 2.0',
                'mclrec_assigned_total{arm="B",by="arm"} 1.0',
                'mclrec_model_info{arm="B",engine="none",items="40",name="counting",version="B-1"} 1.0',
            ):
                assert line in text.splitlines(), line

    asyncio.run(work())


def test_an_explanation_can_be_of_any_model_and_says_whose_it_is() -> None:
    asked = {"history": ["item 03", "item 04"], "items": ["item 09"]}

    async def work() -> None:
        async with client() as http:
            log = io.StringIO()
            configure_logs(log)
            for body, arm in (({}, "A"), ({"arm": "B"}, "B"), ({"user": "ann", "arm": "A"}, "A")):
                answer = (await http.post("/explain", json=asked | body)).json()
                assert (answer["arm"], answer["model"]) == (arm, f"{arm}-1")
            assert (await http.post("/explain", json={**asked, "arm": "C"})).status_code == 422
            event = (await http.post("/events", json={"session": "s", "items": ["item 03"]})).json()
            answer = (await http.post("/recommend", json={"session": "s"})).json()
            assert event["arm"] == answer["arm"]
            await asyncio.sleep(0)
            lines = [json.loads(line) for line in log.getvalue().splitlines()]
            told = [line.get("arm") for line in lines]
            assert told == ["A", "B", "A", None, event["arm"], answer["arm"]]

    asyncio.run(work())


def test_the_log_says_which_model_answered() -> None:
    async def work() -> None:
        async with client() as http:
            log = io.StringIO()
            configure_logs(log)
            for body in ({"history": [], "arm": "B"}, {"history": [], "arm": "A"}):
                await http.post("/recommend", json=body)
            await http.post(
                "/recommend/batch", json={"requests": [{"history": [], "arm": arm} for arm in "ABA"]}
            )
            await asyncio.sleep(0)
            lines = [json.loads(line) for line in log.getvalue().splitlines()]
            assert [line["arm"] for line in lines] == ["B", "A", "A,B"]
            assert [line["batch"] for line in lines] == [1, 1, 2]  # the larger batch: two queries to A

    asyncio.run(work())


def test_models_are_read_anew_one_by_one() -> None:
    async def work() -> None:
        async with client() as http:
            done = await http.post("/model/reload?arm=A")
            assert done.json() == {
                "model": "A-2",
                "before": "A-1",
                "engine": "none",
                "warnings": [],
                "arm": "A",
            }
            both = await http.post("/model/reload")
            assert both.status_code == 409
            assert both.json()["detail"] == "B: b: damaged; A now answers with A-2"
            assert (await http.post("/model/reload?arm=C")).status_code == 422
            card = (await http.get("/model?arm=B")).json()
            assert card["arm"] == "B"
            assert card["arms"] == {"A": {"model": "A-2", "share": 0.5}, "B": {"model": "B-1", "share": 0.5}}

    asyncio.run(work())


def test_one_model_has_no_arms() -> None:
    async def work() -> None:
        metrics = Metrics()
        app = make_app(
            ModelStore(make_service, make_service(), Settings.of(), metrics), Settings.of(), metrics
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
            answer = (await http.post("/recommend", json={"history": [], "session": "s"})).json()
            assert "arm" not in answer
            assert (await http.post("/recommend", json={"history": [], "arm": "A"})).status_code == 422
            assert "arm" not in (await http.get("/metrics")).text

    asyncio.run(work())


def test_words_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    assert named_runs([str(tmp_path / "a=b")]) == {"": tmp_path / "a=b"}
    assert named_runs(["gone"]) == {"": Path("gone")}
    assert named_runs(["A=runs/a=1", "B.2=b"]) == {"A": Path("runs/a=1"), "B.2": Path("b")}
    for words, said in (
        (["runs/a", "runs/b"], "with several models each needs a name, as in A=runs/a B=runs/b"),
        (["A=", "B=b"], "each needs a name"),
        (["A=a", "A=b"], "two models are called A"),
        (["A b=a", "B=b"], "'A b' is not a name of an arm"),
        ([f"a{number}=x" for number in range(17)], "17 models: at most 16"),
    ):
        with pytest.raises(ConfigError, match=said):
            named_runs(words)
    for names, said in (
        ([], "no model"),
        (["A b"], "'A b' is not a name"),
        ([*"abcdefghijklmnopq"], "17 models"),
    ):
        with pytest.raises(ConfigError, match=said):
            check_shares(None, names)
    with pytest.raises(ConfigError, match=r"--split: \[90, 10\]: should be a share by arm"):
        check_shares([90, 10], ["A", "B"])  # type: ignore[arg-type]
    assert check_shares(None, ["A", "B"]) == {"A": 0.5, "B": 0.5}
    assert check_shares(_shares("A=90,B=10"), ["A", "B"]) == {"A": 0.9, "B": 0.1}
    for text, said in (
        ("A=90", "--split: has no share for B; give 0 for none"),
        ("A=90,b=10", "--split: unknown arm 'b'"),
        ("A=0,B=0", "--split: at least one share has to be above 0"),
        ("A=-1,B=2", "--split: A = -1.0: should be a number, 0 or more"),
        ("A=nan,B=2", "--split: A = nan: should be a number"),
        ("A=9,A=1", "--split: 'A' is given twice"),
        ("A=9,A =1", "--split: 'A' is given twice"),
        ("90,10", "should be a share for each arm"),
        ("A=x,B=1", "should be a share for each arm"),
    ):
        with pytest.raises(ConfigError, match=said):
            check_shares(_shares(text), ["A", "B"])


@pytest.mark.slow
def test_a_process_with_two_models(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        save_directory(tmp_path / name, seed=number)
    with serving(Path(f"A={tmp_path}/a"), tmp_path, f"B={tmp_path}/b", "--split", "A=50,B=50") as running:
        answers = [
            httpx.post(f"{running.url}/recommend", json={"history": ["item 01"], "user": f"u{number}"}).json()
            for number in range(20)
        ]
        models = {one["arm"]: one["model"] for one in answers}
        assert len(models) == len(set(models.values())) == 2
        started = [json.loads(line) for line in running.lines() if '"serving"' in line]
        assert [(one["arm"], one["share"], one["model"]) for one in started] == [
            ("A", 0.5, models["A"]),
            ("B", 0.5, models["B"]),
        ]
        reloaded = httpx.post(f"{running.url}/model/reload").json()
        assert [one["arm"] for one in reloaded["arms"]] == ["A", "B"]
