"""The contract of the runtime: every model gives the same answers through every interface, and the ranks of `evaluate`.

For each registered model, 200 queries with all options go to torch in Python, to onnxruntime in Python if the model
has an export, to the REST service one by one and in batches, and through ``mclrec recommend --users``. All give the
same items in the same order with the same scores. The order may differ only among scores within the tolerance of each
other, which rounding may swap.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from tests.helpers import mostly_slow, tiny_data, write_log
from tests.inference.onnx_export import save_run
from tests.inference.rest_replies import body_of, rest_replies

from mclrec.cli import main
from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.split import leave_one_out
from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.errors import ConfigError, EvaluationError, ModelFileError
from mclrec.evaluation.metrics import MISS
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import rank_targets
from mclrec.inference.exporter import export_onnx
from mclrec.inference.model import Model
from mclrec.inference.queries import Query
from mclrec.inference.runtime import EngineName, load_runtime
from mclrec.models import registry
from mclrec.models.base import VectorRecommender
from mclrec.models.storage import load_model

DATA = tiny_data(items=90)
TOLERANCE = 1e-5
NUMBER = 200
VECTORS = [name for name in registry.names() if issubclass(registry.model_class(name), VectorRecommender)]

FURTHER: dict[str, dict[str, Any]] = {
    "sasrec with repeats": {"repeat_bias": True},
    "sasrec with co-occurrence": {"co_occurrence": 3.0},
    "sasrec with both": {"repeat_bias": True, "co_occurrence": 3.0},
}

QUICK = ("mclrec", "bpr", "sasrec with both")

Pairs = Sequence[tuple[OutsideId, float]]


@dataclass(frozen=True)
class Answer:
    """The parts of an answer that every interface returns."""

    items: Pairs
    unknown: tuple[OutsideId, ...]
    unknown_user: bool
    popular: bool


@pytest.fixture(scope="module", params=mostly_slow([*registry.names(), *FURTHER], QUICK))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model, with an export if it has vectors; made once for all pytest-xdist workers."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    directory: Path = folder / "same-answers" / request.param
    directory.parent.mkdir(exist_ok=True)
    with FileLock(directory.with_suffix(".lock")):
        if not directory.exists():
            name = request.param.split(" with ")[0]
            # One layer is enough here and quicker to export; test_exporter covers more layers.
            config = registry.model_class(name).config_type
            settings = {"layers": 1} if "layers" in config.model_fields else {}
            save_run(directory, name, settings | FURTHER.get(request.param, {}))
            if name in VECTORS:
                export_onnx(directory)
    return directory


@pytest.fixture(scope="module")
def answers(run: Path) -> list[Answer]:
    """Answers of torch in Python."""
    return in_python(run, "torch", QUERIES)


def draw_queries() -> list[Query]:
    """Queries with histories of every length, unknown items, known, unknown and missing users, and every option."""
    rng = np.random.default_rng(8)
    items, users = list(DATA.item_ids), list(DATA.user_ids)

    def some(most: int) -> list[OutsideId]:
        drawn: list[OutsideId] = rng.choice(items, int(rng.integers(0, most + 1))).tolist()
        return [f"unknown {number}" if rng.random() < 0.1 else item for number, item in enumerate(drawn)]

    queries = []
    for number in range(NUMBER):
        user = [None, "nobody", users[number % len(users)], users[-1 - number % len(users)]][number % 4]
        allow = some(40) if number % 5 == 2 else None
        k = int(rng.integers(1, 30)) if number % 7 else len(items)
        queries.append(Query(some(12), user, k, some(10) if number % 3 else [], allow, number % 4 == 1))
    assert {not query.history for query in queries} == {True, False}
    return queries


QUERIES = draw_queries()


def assert_same(found: Sequence[Answer], wanted: Sequence[Answer]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert (one.unknown, one.unknown_user, one.popular) == (
            other.unknown,
            other.unknown_user,
            other.popular,
        )
        assert_same_lists(one.items, other.items)


def assert_same_lists(found: Pairs, wanted: Pairs) -> None:
    """Compare scores position by position, and items except for the order of those that rounding may swap."""
    assert [score for _, score in found] == pytest.approx([score for _, score in wanted], abs=TOLERANCE)
    assert len({item for item, _ in found}) == len(found)
    if [item for item, _ in found] == [item for item, _ in wanted]:
        return
    scores = dict(wanted)
    last = wanted[-1][1]
    for (item, score), (other, _) in zip(found, wanted, strict=True):
        # An item found elsewhere in the expected list, or beyond its end, must tie with this position.
        assert item == other or abs(scores.get(item, last) - score) <= TOLERANCE, (item, other)


def refused(run: Path, engine: EngineName) -> bool:
    """Whether the model has no vectors and therefore no export; if so, check that asking for one is an error."""
    if engine == "torch" or (run / "onnx").exists():
        return False
    with pytest.raises(ConfigError, match="has no vectors"):
        export_onnx(run)
    with pytest.raises(ModelFileError, match="has no export"):
        load_runtime(run, engine="onnx")
    return True


def in_python(run: Path, engine: EngineName, queries: Sequence[Query]) -> list[Answer]:
    found = Model.load(run, engine=engine).answer(queries)
    return [Answer(list(one), one.unknown, one.unknown_user, one.popular) for one in found]


def test_onnxruntime_answers_as_torch(run: Path, answers: list[Answer]) -> None:
    if refused(run, "onnx"):
        return
    assert_same(in_python(run, "onnx", QUERIES), answers)
    assert_same(in_python(run / "onnx", "auto", QUERIES), answers)


def test_the_options_are_kept(answers: list[Answer]) -> None:
    everything = set(DATA.item_ids)
    for query, answer in zip(QUERIES, answers, strict=True):
        left_out = {*query.exclude, *(() if query.include_seen else query.history)}
        candidates = (everything if query.allow is None else everything & set(query.allow)) - left_out
        assert {item for item, _ in answer.items} <= candidates
        assert len(answer.items) == min(query.k, len(candidates))
        assert answer.unknown == tuple(
            dict.fromkeys(item for item in query.history if item not in everything)
        )
        assert answer.popular == (not everything & set(query.history))


def test_one_query_alone_is_answered_as_among_many(run: Path, answers: list[Answer]) -> None:
    model = Model.load(run, engine="torch")
    for query, wanted in list(zip(QUERIES, answers, strict=True))[:40]:
        [one] = model.answer([query])
        assert_same_lists(one, wanted.items)


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_rest(run: Path, answers: list[Answer], engine: EngineName) -> None:
    if refused(run, engine):
        return
    single, batch = asyncio.run(over_http(run, engine))
    assert_same(single, answers)
    assert_same(batch, answers)


async def over_http(run: Path, engine: EngineName) -> tuple[list[Answer], list[Answer]]:
    """Answers to the queries one by one, and in batches."""
    single, batch = await rest_replies(
        load_runtime(run, engine=engine), [body_of(query) for query in QUERIES]
    )
    return [_answer(one) for one in single], [_answer(one) for one in batch]


def _answer(reply: dict[str, Any]) -> Answer:
    items = [(one["item"], one["score"]) for one in reply["items"]]
    return Answer(items, tuple(reply["unknown"]), reply["unknown_user"], reply["popular"])


@pytest.mark.parametrize("engine", ["torch", "onnx"])
@pytest.mark.filterwarnings("ignore::mclrec.errors.MclrecWarning")
def test_the_file_of_the_command(run: Path, engine: EngineName, tmp_path: Path) -> None:
    if refused(run, engine):
        return
    log, histories = log_of_queries(tmp_path / "log.csv")
    exclude, allow = list(DATA.item_ids)[:70:9], [*list(DATA.item_ids)[5:80], "unknown 1"]
    (tmp_path / "exclude.txt").write_text("\n".join(map(str, exclude)))
    (tmp_path / "allow.txt").write_text("\n".join(map(str, allow)))
    constrained = ["--exclude", tmp_path / "exclude.txt", "--allow", tmp_path / "allow.txt", "--include-seen"]
    for number, further in enumerate(([], constrained)):
        out = tmp_path / f"recs-{number}.jsonl"
        words = ["recommend", run, "--users", log, "--out", out, "--k", 12, "--engine", engine, *further]
        with pytest.raises(SystemExit) as left:
            main(list(map(str, words)))
        assert not left.value.code
        found: dict[OutsideId, list[tuple[OutsideId, float]]] = {user: [] for user in histories}
        for line in out.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found[row["user"]].append((row["item"], row["score"]))
            assert row["rank"] == len(found[row["user"]])
        queries = [
            Query(history, user, 12, exclude, allow, include_seen=True)
            if further
            else Query(history, user, 12)
            for user, history in histories.items()
        ]
        for user, one in zip(histories, in_python(run, "torch", queries), strict=True):
            assert_same_lists(found[user], one.items)


def log_of_queries(path: Path) -> tuple[Path, dict[OutsideId, list[OutsideId]]]:
    """A log of known and unknown users with the histories of the queries, and the histories by user."""
    histories = [list(query.history) for query in QUERIES if query.history]
    users = [*DATA.user_ids, *(f"zz {number:03d}" for number in range(len(histories) - DATA.num_users))]
    items = sorted({item for history in histories for item in history}, key=str)
    vocabulary = Vocabulary(items)
    packed = Packed.of([vocabulary.dense_all(history) for history in histories])
    log = SequenceData(packed.items.astype(np.int32), packed.offsets, vocabulary, Vocabulary(users))
    return write_log(path, log), dict(zip(users, histories, strict=True))


@pytest.mark.parametrize("seen", ["keep", "drop"])
def test_the_ranks_are_those_of_the_evaluation(run: Path, seen: Seen) -> None:
    targets = leave_one_out(DATA).targets("test")
    ranks = rank_targets(load_model(run).model, targets, seen=seen)
    everyone = targets.histories(np.arange(len(targets)))
    ids = DATA.item_ids
    queries = [
        Query(
            [ids[item] for item in history],
            DATA.user_ids[int(user) + 1],
            len(ids),
            include_seen=seen == "keep",
        )
        for history, user in zip(everyone.tolist(), targets.users, strict=True)
    ]
    for row, (rank, found) in enumerate(
        zip(ranks, Model.load(run, engine="torch").answer(queries), strict=True)
    ):
        scores = dict(found)
        target = ids[int(targets.items[row])]
        if seen == "drop" and targets.items[row] in everyone[row]:
            assert target not in scores
            assert rank == MISS
            continue
        own = scores[target]
        # Ties count against the target; scores within the tolerance may or may not be ties.
        below = sum(score < own - TOLERANCE for score in scores.values())
        not_above = sum(score <= own + TOLERANCE for item, score in scores.items() if item != target)
        missing = len(ids) - len(scores)  # dropped items are not candidates, and count as ranked below
        assert len(ids) - missing - not_above <= rank <= len(ids) - missing - below


def test_similar_items_and_vectors(run: Path) -> None:
    model = Model.load(run, engine="torch")
    histories, users = [["item 001", "item 007"], ["item 050"]], ["user 002", "nobody"]
    if refused(run, "onnx"):
        for ask in (lambda: model.similar("item 003"), lambda: model.vectors(histories), model.item_vectors):
            with pytest.raises(EvaluationError, match="has no"):
                ask()
        return
    other = Model.load(run, engine="onnx")
    if model.item_vectors().any():
        assert_same_lists(other.similar("item 003", 9), model.similar("item 003", 9))
    else:
        with pytest.raises(EvaluationError, match="has no item vectors except zeros"):
            other.similar("item 003", 9)
    assert other.vectors(histories, users=users) == pytest.approx(
        model.vectors(histories, users=users), abs=TOLERANCE
    )
    assert other.item_vectors() == pytest.approx(model.item_vectors(), abs=TOLERANCE)
    explained = [one.explain(histories[0], ["item 009"], user=users[0])[0] for one in (model, other)]
    assert explained[0].score == pytest.approx(explained[1].score, abs=TOLERANCE)
    for one, two in zip(*(found.because for found in explained), strict=True):
        assert (one.position, one.item) == (two.position, two.item)
        assert one.difference == pytest.approx(two.difference, abs=2 * TOLERANCE)


@pytest.mark.parametrize("name", ["bpr", "caser"])
def test_known_users_are_answered_with_their_own_vectors(name: str, tmp_path: Path) -> None:
    save_run(tmp_path / "run", name)
    export_onnx(tmp_path / "run")
    for engine in ("torch", "onnx"):
        model = Model.load(tmp_path / "run", engine=engine)
        answered = [
            model.recommend(["item 001"], user=user)
            for user in ("user 003", "user 002", "nobody", "user 001", None)
        ]
        assert [found.unknown_user for found in answered] == [False, False, True, True, False]
        assert answered[2] == answered[3] == answered[4]  # user 001 is not in the training data
        assert len({tuple(found) for found in answered}) == 3
