"""Every route and every status, on the ASGI application itself, with a model whose answers are predictable."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import BaseModel
from tests.serving.rest.conftest import ITEMS, Counting, client, make_service, use

from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import DataError, ModelFileError
from mclrec.inference.catalogue import Catalogue
from mclrec.inference.queries import DenseQuery
from mclrec.inference.runtime import Runtime
from mclrec.serving.rest import schemas
from mclrec.serving.rest.documentation import EXAMPLES
from mclrec.serving.rest.keys import Keys
from mclrec.serving.rest.model_store import ModelStore
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics, configure_logs
from mclrec.serving.rest.translation import _short

KEY = "a-key-of-enough-characters"


def test_recommend() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        answer = await http.post("/recommend", json={"history": ["item 03", "x", "item 04", 7, "x"], "k": 2})
        assert answer.status_code == 200
        assert answer.json() == {
            "items": [{"item": "item 07", "score": 0.0}, {"item": "item 08", "score": -1.0}],
            "unknown": ["x", 7],
            "unknown_user": False,
            "popular": False,
            "model": "counting-1",
        }

        async def items(**ask: object) -> list[str]:
            found = (await http.post("/recommend", json={"history": ["item 03", "item 04"], **ask})).json()
            return [one["item"] for one in found["items"]]

        assert await items(k=3, exclude=["item 08", "nothing"]) == ["item 07", "item 09", "item 10"]
        assert await items(k=3, allow=["item 20", "item 10", "item 03"]) == ["item 10", "item 20"]
        assert await items(k=3, allow=["item 20", "item 03"], include_seen=True) == ["item 20", "item 03"]
        assert await items(allow=[]) == []
        assert len(await items(k=200)) == ITEMS - 2
        assert await items(k=1, user="bob") == ["item 09"]
        assert await items(k=1, user="nobody") == await items(k=1)
        for path, body in (("/recommend", {}), ("/explain", {"items": ["item 01"]})):
            for user, unknown in (("ann", False), ("nobody", True), (7, True), (None, False)):
                found = (await http.post(path, json={"history": ["item 03"], "user": user, **body})).json()
                assert found["unknown_user"] is unknown
        popular = (await http.post("/recommend", json={"history": ["who"]})).json()
        assert popular["popular"]
        assert len(popular["items"]) == 10

    use(work)


def test_answers_have_titles_where_the_service_has_them() -> None:
    titles = ["", *(f"Title {number}" if number != 8 else "" for number in range(1, ITEMS + 1))]

    async def work(http: httpx.AsyncClient) -> None:
        asked = {"history": ["item 03", "x", "item 04"], "k": 2}
        before = (await http.post("/recommend", json=asked)).json()
        assert (await http.post("/model/reload")).status_code == 200
        after = (await http.post("/recommend", json=asked)).json()
        named = {f"item {number:02d}": f"Title {number}" for number in (3, 4, 7)}  # item 8 has no title
        assert after == {**before, "titles": named}
        schemas.Answer.model_validate(after)
        found = (await http.get("/items", params={"q": "title 12", "limit": 5})).json()
        assert [one["item"] for one in found["items"]] == ["item 12"]
        assert found["titles"] == {"item 12": "Title 12"}
        similar = (await http.get("/similar/item 01", params={"k": 1})).json()
        assert similar["titles"] == {"item 02": "Title 2"}

    use(work, load=lambda: make_service().with_titles(titles))


@pytest.mark.parametrize(
    ("method", "address", "says"),
    [
        (
            "POST",
            "/recommend?k=5",
            "POST /recommend has no query parameter 'k': its parameters are in the body",
        ),
        ("POST", "/recommend/batch?user=ann", "POST /recommend/batch has no query parameter 'user'"),
        ("POST", "/explain?x", "POST /explain has no query parameter 'x'"),
        ("POST", "/events?session=1", "POST /events has no query parameter 'session'"),
        ("GET", "/items?query=a", "unknown query parameter of GET /items: 'query' (known: limit, q)"),
        ("GET", "/items?limits=5", "unknown query parameter of GET /items: 'limits'; did you mean 'limit'?"),
        ("GET", "/items?q=a&q=b", "query parameter 'q' is given 2 times: give it once"),
        ("GET", "/similar/item%2003?K=5", "query parameter of GET /similar/{item}: 'K' (known: k)"),
        ("GET", "/model?arms=A", "unknown query parameter of GET /model: 'arms'; did you mean 'arm'?"),
        ("POST", "/model/reload?are=A", "unknown query parameter of POST /model/reload: 'are'"),
    ],
)
def test_a_query_parameter_that_says_nothing_is_refused(method: str, address: str, says: str) -> None:
    async def work(http: httpx.AsyncClient) -> None:
        body = {"history": ["item 03"]} if method == "POST" else None
        answer = await http.request(method, address, json=body)
        assert answer.status_code == 422
        assert says in answer.json()["detail"]
        for probe in ("/health", "/ready", "/metrics"):
            assert (await http.get(f"{probe}?now=1")).status_code == 200

    use(work)


def test_a_reload_takes_no_body() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        for body in (b"", b"{}"):
            headers = {"Content-Type": "application/json"}
            answer = await http.post("/model/reload", content=body, headers=headers)
            assert answer.status_code == 200
        refused = await http.post("/model/reload", json={"arm": "A"})
        assert refused.status_code == 422
        assert "takes no body: name an arm by ?arm=NAME" in refused.json()["detail"]

    use(work)


def test_titles_that_cannot_be_read_refuse_a_reload() -> None:
    def load() -> Runtime:
        raise DataError("titles.csv: titles cannot be read: No such file or directory")

    async def work(http: httpx.AsyncClient) -> None:
        refused = await http.post("/model/reload")
        assert refused.status_code == 409
        assert "titles.csv" in refused.json()["detail"]
        assert (await http.post("/recommend", json={"history": ["item 03"]})).status_code == 200

    use(work, load=load)


def test_batch_equals_one_by_one() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        asks = [{"history": [f"item {n:02d}"], "k": n} for n in range(1, 9)]
        whole = (await http.post("/recommend/batch", json={"requests": asks})).json()["answers"]
        assert whole == [(await http.post("/recommend", json=ask)).json() for ask in asks]
        assert (await http.post("/recommend/batch", json={"requests": []})).json() == {"answers": []}

    use(work, gathered=3)


def test_explain_is_the_difference_that_leaving_out_makes() -> None:
    async def score(http: httpx.AsyncClient, history: list[str], item: str) -> float:
        body = {"history": history, "allow": [item], "include_seen": True}
        return float((await http.post("/recommend", json=body)).json()["items"][0]["score"])

    async def work(http: httpx.AsyncClient) -> None:
        history = [f"item {n:02d}" for n in (9, 1, 5, 2, 7, 3, 8)]  # the model reads the newest five
        given = [history[0], "unknown", *history[1:]]
        body = {"history": given, "items": ["item 30", "item 04", "item 30"]}
        answer = (await http.post("/explain", json=body)).json()
        assert answer["unknown"] == ["unknown"]
        assert [one["item"] for one in answer["items"]] == body["items"]
        for explained in answer["items"]:
            whole = await score(http, history, explained["item"])
            assert explained["score"] == whole
            assert [reason["position"] for reason in explained["because"]] == [3, 4, 5, 6, 7]
            for reason in explained["because"]:
                rest = [name for place, name in enumerate(given) if place != reason["position"]]
                assert reason["difference"] == whole - await score(http, rest, explained["item"])
        alone = (await http.post("/explain", json={"history": ["item 05"], "items": ["item 06"]})).json()
        assert (alone["items"][0]["because"], alone["items"][0]["score"]) == (
            [],
            -1,
        )  # nothing to compare with
        unknown = await http.post("/explain", json={"history": [], "items": ["item 6"]})
        assert unknown.status_code == 422
        assert "did you mean 'item" in unknown.json()["detail"]
        nothing = (await http.post("/explain", json={"history": ["item 05"], "items": []})).json()
        assert nothing["items"] == []
        for history, popular in (([], True), (["unknown"], True), (["item 05"], False)):
            body = {"history": history, "items": ["item 06"]}
            assert (await http.post("/explain", json=body)).json()["popular"] is popular

    use(work)


def test_a_single_boost_is_a_list_of_one() -> None:
    boost = {"where": {"brand": "own"}, "factor": 2.0}
    for given in (boost, [boost]):
        body = json.dumps({"history": [], "boost": given})
        assert schemas.RecommendRequest.model_validate_json(body).boost == [boost]


def test_items_and_similar() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        found = (await http.get("/items", params={"q": "ITEM 40"})).json()
        assert found == {"items": [{"item": "item 40", "count": 40}], "total": 1}
        assert (await http.get("/items")).json()["items"][0] == {"item": "item 40", "count": 40}
        similar = (await http.get("/similar/item 05", params={"k": 2})).json()
        assert [one["item"] for one in similar["items"]] == ["item 01", "item 02"]
        unknown = await http.get("/similar/item 041")
        assert unknown.status_code == 404
        assert "did you mean" in unknown.json()["detail"]
        for nothing in ("\u00ad", "%20", "\u0301"):  # no letter remains without accents
            assert (await http.get(f"/similar/{nothing}")).status_code == 404
            assert (await http.get("/items", params={"q": nothing})).status_code == 200
            body = {"history": [], "items": [nothing, ""]}
            assert (await http.post("/explain", json=body)).status_code == 422
        query: dict[str, Any]
        for query in ({"k": 0}, {"k": 201}, {"k": "x"}, {"k": "9" * 5000}):
            assert (await http.get("/similar/item 05", params=query)).status_code == 422
        for query in ({"limit": 0}, {"limit": 201}, {"limit": 1.5}, {"q": "x" * 201}):
            assert (await http.get("/items", params=query)).status_code == 422

    use(work)


def test_a_model_without_vectors_has_no_similar_items() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        assert (await http.get("/similar/item 05")).status_code == 409

    use(work, engine=Counting(vectors=False))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"NaN",
        b"\xff\xfe",
        b'{"history": null}',
        b'{"history": "item 01"}',
        b'{"history": [null]}',
        b'{"history": [NaN]}',
        b'{"history": [1.5]}',
        b'{"history": [true]}',
        b'{"history": [{}]}',
        b'{"history": ["\\ud800"]}',
        b'{"history": [99999999999999999999999]}',
        b'{"history": [1e400]}',
        b'{"history": [], "k": 0}',
        b'{"history": [], "k": -1}',
        b'{"history": [], "k": 201}',
        b'{"history": [], "k": true}',
        b'{"history": [], "k": "10"}',
        b'{"history": [], "k": 10.0}',
        b'{"history": [], "k": Infinity}',
        b'{"history": [], "k": 99999999999999999999999999}',
        b'{"history": [], "include_seen": 1}',
        b'{"history": [], "allow": "x"}',
        b'{"history": [], "exclude": null}',
        b'{"history": [], "other": 1}',
        b'{"history": [], "user": []}',
        b'{"history": [], "user": 1.5}',
        b'{"k": 5}',
        b'{"history": ' + b"[" * 5000,
        b'{"history": [' + b"1," * 1000 + b"1]}",
        b'{"history": ["' + b"x" * 513 + b'"]}',
    ],
)
def test_wrong_values_are_422(body: bytes) -> None:
    async def work(http: httpx.AsyncClient) -> None:
        answer = await http.post("/recommend", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"]
        assert len(answer.content) < 4000
        assert (await http.post("/recommend", json={"history": []})).status_code == 200

    use(work)


def test_limits_of_batches_and_reasons() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        for path, body, status in (
            ("/recommend/batch", {"requests": [{"history": []}] * 4}, 200),
            ("/recommend/batch", {"requests": [{"history": []}] * 5}, 422),
            ("/recommend/batch", {"requests": [{"history": [], "k": 999}]}, 422),
            ("/explain", {"history": [], "items": ["item 01"] * 2}, 200),
            ("/explain", {"history": [], "items": ["item 01"] * 3}, 422),
            ("/recommend", {"history": [], "exclude": [1] * 8}, 422),
            ("/recommend", {"history": [], "allow": [1] * 8}, 422),
        ):
            assert (await http.post(path, json=body)).status_code == status, (path, body)

    use(work, max_batch=4, max_explained=2, max_list=7)


def test_bodies_that_are_too_large_or_no_json() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    async def work(http: httpx.AsyncClient) -> None:
        kind = {"Content-Type": "application/json"}
        assert (await http.post("/recommend", content=b" " * 1025, headers=kind)).status_code == 413
        answer = await http.post("/recommend", content=chunks(), headers=kind)
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"
        assert (await http.post("/recommend", content=b'{"history": []}')).status_code == 415
        assert (await http.post("/recommend", data={"history": "x"})).status_code == 415
        assert (await http.get("/recommend")).status_code == 405
        assert (await http.get("/nothing")).status_code == 404

    use(work, max_body=1024)


def test_a_slow_body_is_408() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async def work(http: httpx.AsyncClient) -> None:
        kind = {"Content-Type": "application/json"}
        assert (await http.post("/recommend", content=slow(), headers=kind)).status_code == 408

    use(work, body_timeout=0.01)


def test_a_full_queue_is_503_and_a_late_answer_504() -> None:
    engine = Counting()

    async def work(http: httpx.AsyncClient) -> None:
        engine.gate.clear()
        ask = {"history": ["item 01"]}
        first = asyncio.create_task(http.post("/recommend", json=ask))
        late = await http.post("/recommend", json=ask)
        assert late.status_code == 504
        assert (await first).status_code == 504
        waiting = [asyncio.create_task(http.post("/recommend", json=ask)) for _ in range(12)]
        answers = await asyncio.gather(*waiting)
        assert sorted(answer.status_code for answer in answers) == [503] * 4 + [504] * 8
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert int(refused.headers["retry-after"]) >= 1
        engine.gate.set()
        assert (await http.post("/recommend", json=ask)).status_code == 200

    use(work, engine=engine, deadline=0.2, max_queue=8, max_batch=8, max_history=7, gathered=1)


def test_a_failure_of_the_model_is_500_for_that_request_alone() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        asks = [{"history": names} for names in (["item 01"], ["item 13"] * 3, ["item 02"])]
        answers = await asyncio.gather(*(http.post("/recommend", json=ask) for ask in asks))
        assert [answer.status_code for answer in answers] == [200, 500, 200]
        assert "log" in answers[1].json()["detail"]

    use(work)


def test_keys() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        for path in ("/", "/health", "/ready"):
            assert (await http.get(path)).status_code == 200
        for path in ("/model", "/items", "/docs", "/openapi.json", "/nothing", "/health/"):
            for key in (
                {},
                {"Authorization": KEY},
                {"Authorization": "Bearer"},
                {"Authorization": f"Basic {KEY}"},
                {"Authorization": f"Bearer {KEY}x"},
            ):
                refused = await http.get(path, headers=key)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
        good = {"Authorization": f"Bearer {KEY}"}
        assert (await http.get("/model", headers=good)).status_code == 200
        assert (await http.post("/recommend", json={"history": []}, headers=good)).status_code == 200
        assert (await http.post("/recommend", json={"history": []})).status_code == 401

    use(work, keys=Keys(["another-key-of-enough-length", KEY]))


def test_reload_swaps_refuses_and_happens_once_at_a_time() -> None:
    versions = iter(
        ["counting-2", ModelFileError("model.safetensors: damaged"), RuntimeError("odd"), "empty"]
    )

    def load() -> Runtime:
        version = next(versions)
        if isinstance(version, Exception):
            raise version
        return make_service(Counting(num_items=0 if version == "empty" else ITEMS), str(version))

    async def work(http: httpx.AsyncClient) -> None:
        both = await asyncio.gather(http.post("/model/reload"), http.post("/model/reload"))
        done, refused = sorted(both, key=lambda answer: answer.status_code)
        assert done.json() == {
            "model": "counting-2",
            "before": "counting-1",
            "engine": "none",
            "warnings": [],
        }
        assert refused.json() == {"detail": "a reload is under way"}
        for reason in ("model.safetensors: damaged", "RuntimeError: odd", ""):
            answer = await http.post("/model/reload")
            assert answer.status_code == 409
            assert reason in answer.json()["detail"]
            assert (await http.post("/recommend", json={"history": []})).json()["model"] == "counting-2"
        text = (await http.get("/metrics")).text
        assert 'mclrec_reloads_total{outcome="done"} 1.0' in text
        assert 'mclrec_reloads_total{outcome="refused"} 3.0' in text
        assert 'version="counting-2"' in text

    use(work, load=load)


def test_requests_under_way_keep_the_old_model() -> None:
    engine = Counting()

    async def work(http: httpx.AsyncClient) -> None:
        engine.gate.clear()
        asking = [
            asyncio.create_task(http.post("/recommend", json={"history": ["item 01"]})) for _ in range(9)
        ]
        while (await http.get("/metrics")).text.count("mclrec_queue_length 5.0") == 0:
            await asyncio.sleep(0)
        assert (await http.post("/model/reload")).status_code == 200
        assert (await http.post("/recommend", json={"history": []})).json()["model"] == "counting-2"
        engine.gate.set()
        assert {(await answer).json()["model"] for answer in asking} == {"counting-1"}

    use(work, engine=engine, load=lambda: make_service(version="counting-2"), gathered=4)


def test_draining_refuses_politely() -> None:
    async def run() -> None:
        async with client() as (http, gate):
            gate.draining = True
            for path in ("/ready", "/model", "/"):
                answer = await http.get(path)
                assert answer.status_code == 503
                assert "retry-after" in answer.headers
                assert answer.headers["connection"] == "close"
            assert (await http.get("/health")).status_code == 200

    asyncio.run(run())


def test_too_many_connections() -> None:
    async def run() -> None:
        async with client(max_connections=5) as (http, gate):
            gate.connections = lambda: 6
            answer = await http.get("/model")
            assert answer.status_code == 503
            assert "retry-after" in answer.headers
            assert (await http.get("/ready")).status_code == 200

    asyncio.run(run())


def test_logs_and_metrics() -> None:
    stream = io.StringIO()
    configure_logs(stream)

    async def work(http: httpx.AsyncClient) -> None:
        await http.post("/recommend", json={"history": ["item 01", "x"]}, headers={"X-Request-Id": "abc"})
        await http.post("/recommend", json={"history": 1})
        await http.get("/nothing/at/all")
        await http.get("/similar/item 01")
        text = (await http.get("/metrics")).text
        for line in (
            'mclrec_request_seconds_count{route="/recommend"} 2.0',
            'mclrec_requests_total{route="/recommend",status="200"} 1.0',
            'mclrec_requests_total{route="/similar/{item}",status="200"} 1.0',
            'mclrec_requests_total{route="other",status="404"} 1.0',
            'mclrec_errors_total{status="422"} 1.0',
            "mclrec_batch_size_count 1.0",
            "mclrec_queue_length 0.0",
            "mclrec_unknown_items_total 1.0",
            "mclrec_in_flight 1.0",
            'mclrec_model_info{engine="none",items="40",name="counting",version="counting-1"} 1.0',
        ):
            assert line in text.splitlines(), line

    use(work)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["status"] for line in lines] == [200, 422, 404, 200, 200]
    assert lines[0].items() >= {"event": "request", "route": "/recommend", "batch": 1, "id": "abc"}.items()
    assert "item 01" not in stream.getvalue()
    use(lambda http: _ask(http), log_histories=True)
    assert json.loads(stream.getvalue().splitlines()[-1])["histories"] == [["item 01"]]


async def _ask(http: httpx.AsyncClient) -> None:
    await http.post("/recommend", json={"history": ["item 01"]})


def test_the_description_has_limits_examples_and_errors() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        document = (await http.get("/openapi.json")).json()
        history = document["components"]["schemas"]["RecommendRequest"]["properties"]["history"]
        assert history["maxItems"] == 77
        assert history["examples"]
        assert set(document["paths"]["/recommend"]["post"]["responses"]) >= {
            "200",
            "401",
            "413",
            "422",
            "503",
        }
        page = await http.get("/docs")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert set(EXAMPLES) == set(document["paths"])
        for path in document["paths"]:
            assert f"</b> {path}</h2>" in page.text
        assert page.text.count("$URL") == len(EXAMPLES)
        for used in re.findall(r'(?:href|src)="([^"#]+)"', page.text):
            assert (await http.get(f"/{used.removeprefix('.')}")).status_code == 200, used

    use(work, max_history=77)


def test_the_examples_of_the_description_are_what_the_service_takes_and_gives() -> None:
    gives: dict[str, type[BaseModel]] = {
        "/recommend": schemas.Answer,
        "/recommend/batch": schemas.Answers,
        "/explain": schemas.ExplainAnswer,
        "/items": schemas.Found,
        "/similar/{item}": schemas.Similar,
        "/model/reload": schemas.Reloaded,
    }
    for path, schema in gives.items():
        schema.model_validate(EXAMPLES[path].answer)

    async def work(http: httpx.AsyncClient) -> None:
        for path, call in EXAMPLES.items():
            known = json.loads(
                json.dumps(call).replace("SHREDDED CHEESE", "item 04").replace("BANANAS", "item 05")
            )
            place, sent, shown = known
            if path == "/model/reload":
                continue
            answer = await (http.get(place) if sent is None else http.post(place, json=sent))
            assert answer.status_code == 200, path
            if not isinstance(shown, str):
                assert shown.keys() <= answer.json().keys()

    use(work)


def test_a_request_that_has_a_model_in_hand_is_answered_by_it_after_a_reload() -> None:
    async def run() -> None:
        models = ModelStore(make_service, make_service(), Settings.of(), Metrics())
        before = models.current
        await models.reload()
        assert models.current is not before
        answers = (await before.batcher.ask([DenseQuery(np.array([1]), 1)], 5)).answers
        assert len(answers) == 1

    asyncio.run(run())


def test_ids_that_a_double_cannot_hold_travel_as_text() -> None:
    exact, beyond = [-(2**53) + 1, 7, 2**53 - 1], [-(2**63), -(2**53), 2**53, 2**53 + 1, 2**63 - 1]
    catalogue = Catalogue(Vocabulary(sorted([*exact, *beyond])), np.arange(9))
    runtime = replace(make_service(Counting(num_items=8)), catalogue=catalogue)

    async def work(http: httpx.AsyncClient) -> None:
        await http.post("/model/reload")
        wanted = {*exact, *map(str, beyond)}
        body: dict[str, Any] = {"history": [2**53 + 1], "include_seen": True}
        answer = (await http.post("/recommend", json=body)).json()
        assert {one["item"] for one in answer["items"]} == wanted
        for same in (str(2**53 + 1), 2**53 + 1):
            asked = {**body, "history": [same], "exclude": [str(2**53)], "allow": [7, str(2**53), 2**53]}
            found = (await http.post("/recommend", json=asked)).json()
            assert [one["item"] for one in found["items"]] == [7]
            assert found["unknown"] == []
        unknown = (await http.post("/recommend", json={"history": [2**53 + 2, 8]})).json()["unknown"]
        assert unknown == [str(2**53 + 2), 8]
        searched = (await http.get("/items", params={"q": "9007"})).json()["items"]
        assert {one["item"] for one in searched} == wanted - {7, str(-(2**63)), str(2**63 - 1)}
        similar = (await http.get(f"/similar/{2**53}")).json()["items"]
        assert {one["item"] for one in similar} == wanted - {str(2**53)}
        explained = (
            await http.post("/explain", json={"history": [2**53, 7], "items": [str(2**53 + 1)]})
        ).json()
        assert explained["items"][0]["item"] == str(2**53 + 1)
        assert [reason["item"] for reason in explained["items"][0]["because"]] == [str(2**53), 7]

    use(work, load=lambda: runtime, min_overlap=0)


@pytest.mark.parametrize(
    ("score", "shown"),
    [
        (7.09598512, 7.095985),
        (12345678.0, 12345678.0),
        (0.0, 0.0),
        (-0.25, -0.25),
        (3.0000001e-9, 3e-9),
        (0.6142857142, 0.6142857),
    ],
)
def test_scores_are_short_but_not_zero(score: float, shown: float) -> None:
    assert _short(score) == shown
