"""Rules give the same answer through every interface, equal to that of a plain loop over all items."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import tiny_data, write_log
from tests.inference.item_tables import Pairs, draw_rules, plainly, rows_of, write_table
from tests.inference.onnx_export import save_run
from tests.inference.rest_replies import body_of, rest_replies

from mclrec.cli import main
from mclrec.data.vocabulary import OutsideId
from mclrec.errors import MclrecError
from mclrec.inference.exporter import export_onnx
from mclrec.inference.model import Model
from mclrec.inference.queries import Query
from mclrec.inference.runtime import EngineName, load_runtime

DATA = tiny_data(items=90)
ITEMS = list(DATA.item_ids)
ROWS = rows_of(ITEMS)
BY_ITEM = {row["sku"]: row for row in ROWS}
TOLERANCE = 1e-5
NUMBER = 120
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "sasrec": ("sasrec", {"layers": 1}),
    "sasrec with both": ("sasrec", {"layers": 1, "repeat_bias": True, "co_occurrence": 3.0}),
    "bpr": ("bpr", {}),
    "ease": ("ease", {}),
    "markov": ("markov", {}),
    "popularity": ("popularity", {}),
}
pytestmark = pytest.mark.filterwarnings("ignore::mclrec.errors.MclrecWarning")


@pytest.fixture(scope="module", params=MODELS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, settings = MODELS[request.param]
    directory = save_run(tmp_path_factory.mktemp("rules") / "run", name, settings)
    if name == "sasrec":
        export_onnx(directory, index=None if "repeat_bias" in settings else "faiss")
    write_table(directory.parent / "items.parquet", ROWS)
    return directory


def draw_queries() -> list[tuple[Query, dict[str, Any]]]:
    rng = np.random.default_rng(12)
    queries = []
    for number in range(NUMBER):
        history = rng.choice(ITEMS, int(rng.integers(0, 9))).tolist() if number % 6 else []
        allow = rng.choice(ITEMS, 50).tolist() if number % 5 == 2 else None
        exclude = rng.choice(ITEMS, 9).tolist() if number % 3 else []
        k = int(rng.integers(1, 15)) if number % 7 else 90
        user = [None, DATA.user_ids[1 + number % 40]][number % 2]
        rules = draw_rules(rng)
        queries.append((Query(history, user, k, exclude, allow, number % 4 == 1, **rules), rules))
    return queries


QUERIES = draw_queries()


def wanted(run: Path) -> list[Pairs]:
    """Expected answers: the rules applied plainly to the full rankings of the same queries without rules."""
    model = Model.load(run, engine="torch")
    whole = [replace(query, k=90, filter=None, boost=None, diversify=None) for query, _ in QUERIES]
    order = {item: place for place, item in enumerate(ITEMS)}
    counted = model.name in ("ease", "markov", "popularity")
    return [
        plainly(found, BY_ITEM, rules, query.k, not (counted or found.popular), order.__getitem__)
        for found, (query, rules) in zip(model.answer(whole), QUERIES, strict=True)
    ]


def assert_same(found: Sequence[Pairs], wanted: Sequence[Pairs]) -> None:
    """Compare items and scores, except that rounding may swap items with close scores.

    With `diversify`, a swap may change the rest of the list, so lists are compared only up to the first close scores.
    """
    assert len(found) == len(wanted)
    same = 0
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        close = np.diff([score for _, score in other], prepend=np.inf)
        apart = (
            int(np.argmax(np.abs(close) <= TOLERANCE)) if (np.abs(close) <= TOLERANCE).any() else len(other)
        )
        if apart == len(other):
            assert [item for item, _ in one] == [item for item, _ in other], (number, QUERIES[number])
            assert [score for _, score in one] == pytest.approx(
                [score for _, score in other], abs=2e-5, rel=1e-5
            )
            same += 1
        else:
            assert [item for item, _ in one][: apart - 1] == [item for item, _ in other][: apart - 1]
    assert same > 0


def engines(run: Path) -> list[EngineName]:
    return ["torch", "onnx"] if (run / "onnx").exists() else ["torch"]


def test_python(run: Path) -> None:
    expected, queries = wanted(run), [query for query, _ in QUERIES]
    assert sum(len(one) for one in expected) > 300
    for engine in engines(run):
        model = Model.load(run, engine=engine, items=run.parent / "items.parquet")
        assert_same(list(model.answer(queries)), expected)
        for (query, rules), one in list(zip(QUERIES, expected, strict=True))[:25]:
            found = model.recommend(
                query.history,
                query.k,
                user=query.user,
                exclude=query.exclude,
                allow=query.allow,
                include_seen=query.include_seen,
                **rules,
            )
            assert [item for item, _ in found][: len(one) // 2] == [item for item, _ in one][: len(one) // 2]
    if (run / "onnx" / "index.faiss").exists():
        indexed = Model.load(run, engine="onnx", index="faiss", items=run.parent / "items.parquet")
        ruled = [number for number, (_, rules) in enumerate(QUERIES) if rules]
        assert_same(list(indexed.answer([queries[n] for n in ruled])), [expected[n] for n in ruled])


def test_rest(run: Path) -> None:
    expected = wanted(run)
    for engine in engines(run):
        single, batch = asyncio.run(over_http(run, engine))
        assert_same(single, expected)
        assert_same(batch, expected)


async def over_http(run: Path, engine: EngineName) -> tuple[list[Pairs], list[Pairs]]:
    runtime = load_runtime(run, engine=engine).told_of_items(None, run.parent / "items.parquet")
    asked = [body_of(query) | rules for query, rules in QUERIES]
    single, batch = await rest_replies(runtime, asked)
    return [_pairs(one) for one in single], [_pairs(one) for one in batch]


def _pairs(reply: dict[str, Any]) -> Pairs:
    return [(one["item"], one["score"]) for one in reply["items"]]


def test_the_file_of_the_command(run: Path, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", DATA)
    rules = {
        "filter": {"category": {"not": ["fruit"]}, "price": {"max": 15}},
        "boost": [{"where": {"available": True}, "factor": 4}, {"where": {"stock": 0}, "add": -0.5}],
        "diversify": {"category": 2, "stock": 3},
    }
    words = [
        "recommend",
        run,
        "--users",
        log,
        "--out",
        tmp_path / "recs.jsonl",
        "--k",
        8,
        "--engine",
        "torch",
    ]
    words += ["--items", run.parent / "items.parquet"]
    for name, rule in rules.items():
        words += [f"--{name}", json.dumps(rule)]
    with pytest.raises(SystemExit) as left:
        main(list(map(str, words)))
    assert not left.value.code
    found: dict[OutsideId, list[tuple[OutsideId, float]]] = {user: [] for user in DATA.user_ids}
    for line in (tmp_path / "recs.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[row["user"]].append((row["item"], row["score"]))
    model = Model.load(run, engine="torch", items=run.parent / "items.parquet")
    for place, user in enumerate(DATA.user_ids):
        history = [ITEMS[item - 1] for item in DATA.items[DATA.offsets[place] : DATA.offsets[place + 1]]]
        one = model.recommend(history, 8, user=user, **rules)  # type: ignore[arg-type]
        assert [item for item, _ in found[user]] == [item for item, _ in one]
        assert [score for _, score in found[user]] == pytest.approx(
            [score for _, score in one], abs=TOLERANCE
        )


def test_unfinished_bulk_work_by_other_rules_is_not_gone_on_with(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model.load(run, engine="torch", items=run.parent / "items.parquet")
    log, out = write_log(tmp_path / "log.csv", DATA), tmp_path / "recs.csv"
    monkeypatch.setattr("mclrec.inference.bulk.check_format", lambda _: _fails)
    with pytest.raises(KeyboardInterrupt):
        model.recommend_file(log, out, filter={"stock": 0})
    monkeypatch.undo()
    for rules in ({"filter": {"stock": 1}}, {}, {"filter": {"stock": 0}, "diversify": {"category": 1}}):
        with pytest.raises(MclrecError, match="made with another rules"):
            model.recommend_file(log, out, **rules)  # type: ignore[arg-type]
    assert model.recommend_file(log, out, filter={"stock": 0}) == DATA.num_users


def _fails(*_: object) -> None:
    raise KeyboardInterrupt
